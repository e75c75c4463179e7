"""Removed layers: what is left computes what it should, and the removal can be undone."""

import copy
import json
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from callbacks.damage.layers import RemoveLayers, removable
from callbacks.digests import weights_digest
from datamodules import Preprocessing
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.cifar_resnet import cifar_resnet20
from lightning_modules.lenet import LeNet

IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def classifier() -> nn.Module:
    rgb = Preprocessing(channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Classifier(
        cifar_resnet20(), classes=10, preprocessing=rgb, architecture="builtin:cifar_resnet20"
    )


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet20": cifar_resnet20,
    "classifier": classifier,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=10),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


def test_undo_is_exact_and_replay_is_the_same(model: nn.Module) -> None:
    before, answer = weights_digest(model), model(IMAGE)
    record = RemoveLayers()(model, 3, 0, IMAGE)
    assert weights_digest(model) == before, "making a record changes nothing"
    changed = record.apply(copy.deepcopy(model))
    assert changed(IMAGE).shape == answer.shape
    assert not torch.equal(changed(IMAGE), answer)
    again = RemoveLayers(tuple(record.facts["layers"].split(",")))(model, 3, 0, IMAGE)
    assert torch.equal(again.apply(copy.deepcopy(model))(IMAGE), changed(IMAGE))
    back = record.undo(copy.deepcopy(changed))
    assert weights_digest(back) == before
    assert torch.equal(back(IMAGE), answer)
    assert [part.training for part in back.modules()] == [p.training for p in model.modules()]


def test_facts_are_plain(model: nn.Module) -> None:
    facts = RemoveLayers()(model, 2, 5, IMAGE).facts
    assert json.loads(json.dumps(facts)) == facts
    assert facts["severity"] == 2
    assert facts["seed"] == 5
    assert len(facts["layers"].split(",")) == 2


def test_more_blocks_hold_fewer(model: nn.Module) -> None:
    drawn = [set(RemoveLayers()(model, n, 1, IMAGE).shortcuts) for n in range(4)]
    assert [len(one) for one in drawn] == [0, 1, 2, 3]
    assert drawn[1] < drawn[2] < drawn[3]


def test_a_block_without_its_weights_is_its_shortcut() -> None:
    """A block whose last norm is zero computes the shortcut (Goyal et al. 2017, zero-gamma)."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10).eval()
    record = RemoveLayers(("layer2.0", "layer3.1"))(model, 2, 0, IMAGE)
    zeroed = copy.deepcopy(model)
    for name in ("layer2.0.bn2", "layer3.1.bn2"):
        nn.init.zeros_(zeroed.get_submodule(name).weight)  # type: ignore[arg-type]
    assert torch.equal(record.apply(model)(IMAGE), zeroed(IMAGE))


def test_a_shortcut_keeps_its_names() -> None:
    model = torchvision.models.resnet18(num_classes=10).eval()
    names = set(model.state_dict())
    state = RemoveLayers(("layer2.0",))(model, 1, 0, IMAGE).apply(model).state_dict()
    assert {n for n in state if n.startswith("layer2.0.")} == {
        n for n in names if n.startswith("layer2.0.downsample.")
    }


def test_what_can_be_removed() -> None:
    assert removable(LeNet().eval(), torch.rand(1, 1, 28, 28)) == []
    expected = ["layer1.0", "layer1.1", "layer1.2", "layer2.1", "layer2.2", "layer3.1", "layer3.2"]
    assert removable(cifar_resnet20().eval(), IMAGE) == expected


@pytest.mark.parametrize(
    ("layers", "severity", "message"),
    [
        (("layer2.0",), 1, r"layer2.0 changes \(16, 32, 32\) to \(32, 16, 16\) .*layer2.1"),
        (("layer1.9",), 1, "no layer 'layer1.9'. Did you mean"),
        (("layer1", "layer1.0"), 2, "'layer1' covers another"),
        (("layer1.0",), 2, "Expected `severity` to be the number of `layers`"),
        ((), 8, "Expected `severity` to be a whole number of removable blocks"),
        ((), -1, "Expected `severity`"),
        ((), 1.5, "Expected `severity`"),
        ((), float("nan"), "Expected `severity`"),
    ],
)
def test_mistakes(layers: tuple[str, ...], severity: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RemoveLayers(layers)(cifar_resnet20().eval(), severity, 0, IMAGE)


def test_records_refuse_what_they_do_not_fit() -> None:
    model = cifar_resnet20().eval()
    record = RemoveLayers()(model, 1, 0, IMAGE)
    with pytest.raises(UserError, match="to be removed, but it is there"):
        record.undo(model)
    record.apply(model)
    with pytest.raises(UserError, match="removed already"):
        record.apply(model)
    with pytest.raises(UserError, match="Expected `image`"):
        RemoveLayers()(model, 1)
