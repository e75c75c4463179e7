"""Removed channels: a smaller network that computes what the masked one does."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from callbacks.damage.channels import RemoveChannels
from callbacks.damage.removed_channels import RemovedChannels
from callbacks.digests import weights_digest
from datamodules.errors import UserError
from lightning_modules.cifar_resnet import cifar_resnet20
from lightning_modules.lenet import LeNet

GREY = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
RGB = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
MODELS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "lenet": (LeNet, GREY),
    "resnet20": (cifar_resnet20, RGB),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), RGB),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, RemovedChannels]:
    torch.manual_seed(0)
    make, image = MODELS[request.param]
    model = make().eval()
    return model, image, RemoveChannels()(model, 0.3, 0, image)


Case = tuple[nn.Module, Tensor, RemovedChannels]


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_undo_is_exact_and_replay_is_the_same(case: Case, tmp_path: Path) -> None:
    model, image, record = case
    before, answer = weights_digest(model), model(image)
    small = record.apply(copy.deepcopy(model))
    assert size(small) < size(model)
    assert small(image).shape == answer.shape
    again = RemovedChannels.load(record.save(tmp_path / "record.safetensors"))
    assert weights_digest(again.apply(copy.deepcopy(model))) == weights_digest(small)
    assert again.facts == record.facts == json.loads(json.dumps(record.facts))
    back = again.undo(small)
    assert weights_digest(back) == before == weights_digest(model)
    assert torch.equal(back(image), answer)
    assert str(back) == str(model)


def test_it_trains(case: Case) -> None:
    model, image, record = case
    small = record.apply(copy.deepcopy(model)).train()
    small(image).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in small.parameters())


def test_the_smaller_network_ignores_the_channels_and_nothing_else() -> None:
    """LeNet by hand: the columns behind the channels that went are zero."""
    torch.manual_seed(0)
    model = LeNet().eval()
    record = RemoveChannels(layers=("conv2",))(model, 0.25, 0, GREY)
    (gone,) = json.loads(record.facts["removed"]).values()
    norm = model.conv2.weight.abs().sum((1, 2, 3))  # type: ignore[operator,union-attr]
    behind = model.fc1.weight.view(120, 16, 16).abs().sum((0, 2))  # type: ignore[operator,union-attr]
    # torch-pruning's group norm is the mean over the layers of the group (its documentation).
    assert sorted(gone) == sorted((norm + behind).argsort()[:4].tolist())
    masked = copy.deepcopy(model)
    with torch.no_grad():
        masked.fc1.weight.view(120, 16, 16)[:, gone] = 0  # type: ignore[operator,union-attr]
    small = record.apply(model)
    assert small.conv2.out_channels == 12
    assert small.fc1.in_features == 192
    # float32: sums of 192 terms instead of 256
    torch.testing.assert_close(small(GREY), masked(GREY), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["resnet18"], indirect=True)
def test_share_of_parameters(case: Case) -> None:
    """1 - (1 - p)^2 of the parameters: 51 % at 30 % of the channels (reference 2)."""
    model, _, record = case
    small = record.apply(copy.deepcopy(model))
    # 0.01: counts are rounded in every layer, and stem and head shrink on one side only
    assert size(small) / size(model) == pytest.approx(0.49, abs=0.01)
    assert record.facts["left_whole"] == ""


@pytest.mark.parametrize("case", ["resnet20"], indirect=True)
def test_a_padding_shortcut_leaves_its_sum_whole(case: Case) -> None:
    """Option A shortcuts shift channels, which the library's graph does not know."""
    _, _, record = case
    assert record.facts["left_whole"] == "conv1"
    assert record.counts["layer1.0.conv1"]["out_channels"] == 11
    assert "conv1" not in record.counts


def test_one_channel_stays_and_the_classes_do() -> None:
    small = RemoveChannels()(LeNet().eval(), 0.99, 0, GREY).apply(LeNet().eval())
    assert small.conv1.out_channels == 1
    assert small(GREY).shape == (2, 10)


def test_seeds() -> None:
    model = LeNet().eval()
    drawn = [
        RemoveChannels("random")(model, 0.5, seed, GREY).facts["removed"] for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_frozen_weights_stay_frozen_and_the_global_generator_stays() -> None:
    model, state = LeNet().eval().requires_grad_(False), torch.get_rng_state()
    small = RemoveChannels("random")(model, 0.5, 0, GREY).apply(model)
    assert not any(p.requires_grad for p in small.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("severity", [-0.1, 1.0, float("nan")])
def test_severity_out_of_range(severity: float) -> None:
    with pytest.raises(UserError, match=r"Expected `severity` to be a share in \[0, 1\)"):
        RemoveChannels()(LeNet().eval(), severity, 0, GREY)


def test_mistakes() -> None:
    with pytest.raises(UserError, match=r"no layer 'conv3'\. Did you mean"):
        RemoveChannels(layers=("conv3",))(LeNet().eval(), 0.5, 0, GREY)
    with pytest.raises(UserError, match="the classes must stay"):
        RemoveChannels(layers=("fc3",))(LeNet().eval(), 0.5, 0, GREY)
    with pytest.raises(UserError, match="tied to a sum"):
        RemoveChannels(layers=("layer2.0.conv2",))(cifar_resnet20().eval(), 0.5, 0, RGB)
    with pytest.raises(UserError, match="Expected `image`"):
        RemoveChannels()(LeNet(), 0.5)
    record = RemoveChannels()(LeNet().eval(), 0.5, 0, GREY)
    with pytest.raises(UserError, match=r"Expected 'conv1\.weight' of"):
        record.apply(LeNet(width=2))
