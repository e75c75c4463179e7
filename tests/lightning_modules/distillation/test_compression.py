import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from datamodules import UserError
from lightning_modules import build
from lightning_modules.distillation import macs
from lightning_modules.distillation.compression import (
    composed,
    count_pruned,
    hold_pruned,
    lamp,
    positions,
    pruning_masks,
    rounded,
)

IMAGE = torch.rand(1, 1, 28, 28)
LENET = {"conv1": 576, "conv2": 64, "fc1": 1, "fc2": 1, "fc3": 1}


def lenet() -> nn.Module:
    torch.manual_seed(0)
    return build("lenet", 10, 1).eval()


def test_places_by_hand() -> None:
    assert positions(lenet(), IMAGE) == LENET


def test_scores_by_hand() -> None:
    score = lamp(torch.tensor([[3.0, -1.0], [0.0, 2.0]]))
    torch.testing.assert_close(score, torch.tensor([[1, 1 / 14], [0, 4 / 13]]).double())


def test_equal_costs_prune_like_torch() -> None:
    """With torch's global pruning by the same scores."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.ReLU(), nn.Linear(20, 10)).eval()
    masks = pruning_masks(model, IMAGE, 4000)
    layers = [(model[1], "weight"), (model[3], "weight")]
    scores = {(part, name): lamp(part.weight.detach()) for part, name in layers}
    amount = 784 * 20 + 200 - 4000
    prune.global_unstructured(layers, prune.L1Unstructured, scores, amount=amount)
    for name, part in (("1", model[1]), ("3", model[3])):
        assert torch.equal(masks[name], part.weight_mask.bool())


@pytest.mark.parametrize("macs", [20_000, 100_000])
def test_the_work_left_is_what_was_asked_for(macs: int) -> None:
    model = lenet()
    masks = pruning_masks(model, IMAGE, macs)
    kept = sum(int(mask.sum()) * LENET[name] for name, mask in masks.items())
    assert macs - 576 <= kept <= macs  # the next weight costs at most 576
    assert all(bool(mask.any()) for mask in masks.values()), "a layer is cut off"
    with hold_pruned(model, masks):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        model(IMAGE).sum().backward()
        optimizer.step()
    made = count_pruned(model, IMAGE)
    assert made.macs <= macs, "training has kept the zeros"
    assert set(model.state_dict()) == set(lenet().state_dict()), "no masks are left"
    assert made.parameters == sum(int(p.count_nonzero()) for p in model.parameters())


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_training_keeps_zeros_like_torchs_own_pruning(
    optimizer: type[torch.optim.Optimizer],
) -> None:
    """The weights that are left move bit for bit as with torch's re-parametrisation."""
    own, theirs, image = lenet(), lenet(), torch.rand(8, 1, 28, 28)
    masks = pruning_masks(own, IMAGE, 100_000)
    for name, mask in masks.items():
        prune.custom_from_mask(theirs.get_submodule(name), "weight", mask)

    def steps(model: nn.Module) -> None:
        optimizing = optimizer(model.parameters(), lr=0.01, weight_decay=0.1)  # type: ignore[call-arg]
        for _ in range(3):
            optimizing.zero_grad()
            model(image).square().mean().backward()
            optimizing.step()

    with hold_pruned(own, masks):
        steps(own)
    steps(theirs)
    for name in masks:
        expected = theirs.get_submodule(name).weight_orig * masks[name]  # type: ignore[operator]
        assert torch.equal(own.get_submodule(name).weight, expected)
    own(image).sum().backward()
    assert bool((own.conv1.weight.grad != 0).all()), "gradients are let go again"  # type: ignore[union-attr]


def test_rounding_is_torchs_quantisation() -> None:
    model = lenet()
    made = rounded(model, IMAGE)
    weight = model.conv2.weight.detach()
    scale = weight.abs().flatten(1).amax(1) / 127
    expected = torch.fake_quantize_per_channel_affine(
        weight, scale, torch.zeros(len(scale), dtype=torch.int32), 0, -127, 127
    )
    torch.testing.assert_close(made.model.conv2.weight.detach(), expected)
    assert torch.equal(made.model.conv2.bias, model.conv2.bias)
    assert not torch.equal(model.conv2.weight, made.model.conv2.weight), "a copy"
    # 44,190 weights of one byte, 236 biases and 236 scales of four
    assert made.bytes == 44_190 + 4 * 236 + 4 * 236


class Attending(nn.Module):
    """Patches of 7x7, torch's attention twice with shared weights, a head that is tied."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 7, 7)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.inner, self.head = nn.Linear(8, 8), nn.Linear(8, 8)
        self.head.weight = self.inner.weight

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patch(image).flatten(2).mT
        for _ in range(2):
            x = self.attention(x, x, x, need_weights=False)[0]
        return self.head(self.inner(x).mean(1))


PARTS = {"patch": 8 * 49, "attention.in_proj_weight": 24 * 8, "attention.out_proj": 64, "inner": 64}
"""Numbers in each weight; 16 tokens, and the head's use of the weight of `inner`."""
PRODUCTS = 2 * 2 * 16 * 16 * 8
"""Multiply-accumulates of queries by keys and of weights by values, in two calls."""


def test_attention_and_shared_weights_by_hand() -> None:
    torch.manual_seed(0)
    model = Attending().eval()
    used = positions(model, IMAGE)
    assert used == {"patch": 16, "attention.in_proj_weight": 32, "attention.out_proj": 32,
                    "inner": 17}  # fmt: skip
    whole = PRODUCTS + sum(used[name] * PARTS[name] for name in used)
    assert macs(model, IMAGE) == macs(model, IMAGE.expand(3, -1, -1, -1)) == whole
    made = rounded(model, IMAGE)
    grid = made.model.attention.in_proj_weight / (  # type: ignore[operator, union-attr]
        model.attention.in_proj_weight.abs().amax(1, keepdim=True) / 127
    )
    torch.testing.assert_close(grid, grid.round(), atol=1e-4, rtol=0)  # float32 of up to 127
    assert made.macs == whole
    biases, scales = 8 + 24 + 8 + 8 + 8, 8 + 24 + 8 + 8
    assert made.bytes == sum(PARTS.values()) + 4 * (biases + scales)
    masks = pruning_masks(model, IMAGE, whole // 2)
    with hold_pruned(model, masks):
        left = count_pruned(model, IMAGE)
    assert whole // 2 - 32 < left.macs <= whole // 2, "a weight costs 32 at most"
    with pytest.raises(UserError, match=f"{PRODUCTS} are products of activations"):
        pruning_masks(model, IMAGE, PRODUCTS)


def test_weights_that_are_computed_are_rounded_and_pruned() -> None:
    model = lenet()
    nn.utils.parametrizations.weight_norm(model.fc1)  # type: ignore[arg-type]
    before = model(IMAGE)
    made = rounded(model, IMAGE)
    expected = rounded(lenet(), IMAGE)
    torch.testing.assert_close(made.model(IMAGE), expected.model(IMAGE))
    assert made[1:] == expected[1:]
    assert torch.equal(model(IMAGE), before), "a copy"
    torch.testing.assert_close(composed(model)(IMAGE), before)
    with hold_pruned(model, pruning_masks(model, IMAGE, 20_000)):
        assert count_pruned(model, IMAGE).macs <= 20_000


@pytest.mark.parametrize(("kind", "size"), [(torch.bfloat16, 2), (torch.float64, 8)])
def test_bytes_of_other_types(kind: torch.dtype, size: int) -> None:
    model = lenet().to(kind)  # images come in float32
    assert count_pruned(model, IMAGE).bytes == 44_426 * size
    assert rounded(model, IMAGE).bytes == 44_190 + size * (236 + 236)


def test_nothing_left() -> None:
    with pytest.raises(UserError, match="at least one weight, but got 0"):
        pruning_masks(lenet(), IMAGE, 0)
