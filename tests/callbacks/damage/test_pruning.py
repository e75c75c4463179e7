"""Pruning masks against torch's own, exact counts and exact undo."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from callbacks.damage.pruning import Prune
from callbacks.digests import weights_digest
from datamodules.errors import UserError
from lightning_modules.lenet import LeNet

CASES = [
    Prune(criterion, scope, structured)
    for criterion in ("magnitude", "random")
    for scope in ("global", "layer")
    for structured in (False, True)
]
EACH = pytest.mark.parametrize("damage", CASES, ids=str)


def network() -> nn.Module:
    torch.manual_seed(0)
    return LeNet().eval()


@EACH
def test_undo_is_exact_and_replay_is_the_same(damage: Prune) -> None:
    model = network()
    before = weights_digest(model)
    record = damage(model, 0.5, 1)
    assert weights_digest(model) == before, "making a record changes nothing"
    pruned = weights_digest(record.apply(model))
    assert weights_digest(damage(network(), 0.5, 1).apply(network())) == pruned
    for name, keep in record.keep.items():
        assert bool((model.get_parameter(name)[~keep] == 0).all())
        assert torch.equal(model.get_parameter(name)[keep], network().get_parameter(name)[keep])
    assert weights_digest(record.undo(model)) == before
    assert json.loads(json.dumps(record.facts)) == record.facts


@EACH
@pytest.mark.parametrize("rate", [0.0, 0.333, 1.0])
def test_counts_are_exact(damage: Prune, rate: float) -> None:
    model = network()
    keep = damage(model, rate).keep
    rows = {n: mask.flatten(1)[:, :1] if damage.structured else mask for n, mask in keep.items()}
    gone = {name: int((~mask).sum()) for name, mask in rows.items()}
    if damage.scope == "layer":
        assert gone == {name: round(rate * mask.numel()) for name, mask in rows.items()}
    assert damage.scope == "layer" or sum(gone.values()) == round(
        rate * sum(mask.numel() for mask in rows.values())
    )
    if damage.structured:
        assert "fc3.weight" not in keep
        assert all(bool((m.flatten(1) == m.flatten(1)[:, :1]).all()) for m in keep.values())


def test_global_magnitude_is_that_of_torch() -> None:
    model, torchs = network(), network()
    parts = [(m, "weight") for m in torchs.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    prune.global_unstructured(parts, prune.L1Unstructured, amount=0.7)
    record = Prune()(model, 0.7)
    for (part, _), mask in zip(parts, record.keep.values(), strict=True):
        assert torch.equal(part.weight_mask.bool(), mask)


def test_magnitude_by_layer_is_that_of_torch() -> None:
    model, torchs = network(), network()
    record = Prune(scope="layer")(model, 0.4)
    for name, mask in record.keep.items():
        part = torchs.get_submodule(name.removesuffix(".weight"))
        prune.l1_unstructured(part, "weight", amount=0.4)
        assert torch.equal(part.weight_mask.bool(), mask)  # type: ignore[union-attr,operator]


def test_filters_are_those_of_torch() -> None:
    model, torchs = network(), network()
    record = Prune(scope="layer", structured=True)(model, 0.5)
    prune.ln_structured(torchs.conv2, "weight", amount=0.5, n=1, dim=0)  # type: ignore[arg-type]
    mask = torchs.conv2.weight_mask.bool()  # type: ignore[union-attr]
    assert torch.equal(record.keep["conv2.weight"], mask)


def test_a_checkpoint_loads_into_a_clean_model() -> None:
    state = Prune()(model := network(), 0.5).apply(model).state_dict()
    assert LeNet().load_state_dict(copy.deepcopy(state), strict=True)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_out_of_range(rate: float) -> None:
    with pytest.raises(UserError, match=r"Expected `severity` to be a rate in \[0, 1\]"):
        Prune()(network(), rate)


def test_mistakes() -> None:
    with pytest.raises(UserError, match="no layer 'conv3'"):
        Prune(layers=("conv3",))(network(), 0.5)
    with pytest.raises(UserError, match="Expected `criterion` to be magnitude or random"):
        Prune("movement")  # type: ignore[arg-type]
