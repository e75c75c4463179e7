import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from datamodules import UserError
from lightning_modules import build
from lightning_modules.distillation.compression import (
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


def test_nothing_left() -> None:
    with pytest.raises(UserError, match="at least one weight, but got 0"):
        pruning_masks(lenet(), IMAGE, 0)
