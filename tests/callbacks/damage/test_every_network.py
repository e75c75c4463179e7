"""Every odd network under every damage: the value of the network edited in place, bit for bit."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from odd_networks import Base
from torch import Tensor, nn

from callbacks.damage import (
    DAMAGES,
    ActivationFault,
    DamageProbe,
    Prune,
    PruneRandom,
    Record,
    Selection,
    Zero,
)
from callbacks.damage.exchange import check_exchangeable
from callbacks.digests import weights_digest
from callbacks.leave_no_trace import leave_no_trace
from callbacks.measurement import Samples
from callbacks.queries import Queries
from datamodules.errors import UserError
from lightning_modules import Classifier, load_classifier
from lightning_modules.examination import examine

KINDS: dict[str, Callable[[], Any]] = {**DAMAGES, "prune": Prune, "prune_random": PruneRandom}
SEVERITIES = {"bit_flip": 20.0, "bit_flip_attack": 2.0, "quantise": 4.0}
SHARE = 0.4
REFUSED = {"no gradient": "needs gradients", "inference mode": "needs gradients"}
"""Networks that the bit-flip attack refuses, with a part of the sentence."""
ONE_LAYER = {"grey, one layer", "odd size, one layer", "unregistered", "borrowed weight"}
"""Networks whose only called layer makes the logits."""
pytestmark = pytest.mark.odd(where=lambda odd: not odd.refused)


@cache
def met(odd: Any) -> tuple[Classifier, Samples]:
    network, image = odd.network(), odd.images(8)
    classifier = load_classifier(network, data_classes="abcdefgh"[: odd.classes])
    examine(classifier, image)
    label = torch.arange(8) % odd.classes
    with torch.no_grad():
        logits = classifier.eval().requires_grad_(False)(image)
    return classifier, Samples(image, label, torch.arange(8), logits, seed=0)


def measured(probe: DamageProbe, classifier: Classifier, samples: Samples) -> dict[Any, Tensor]:
    """Logits by setting, as the base class asks for them."""
    probe._example = samples.image, samples.label
    with torch.enable_grad(), leave_no_trace(classifier):
        found = probe.measure(Queries(classifier, 8), samples, probe.settings())
        return {one.setting: one.logits for one in found}


@contextmanager
def edited(model: nn.Module, record: Any) -> Iterator[nn.Module]:
    """In place, because a deep copy lays weights with gaps out anew; undone afterwards."""
    try:
        yield record.apply(model)
    finally:
        record.undo(model)


def asked(model: nn.Module, samples: Samples) -> Tensor:
    """The answer; a network that counts its calls does not count this one."""
    with leave_no_trace(model):
        return model(samples.image)


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())


@torch.no_grad()
def test_rows_are_those_of_the_network_edited_in_place(odd: Any, tmp_path: Path) -> None:
    classifier, samples = met(odd)
    before = weights_digest(classifier)
    for name, kind in KINDS.items():
        damage, severity = kind(), SEVERITIES.get(name, SHARE)
        probe = DamageProbe(damage, (severity,), draws=2, chunk=8)
        if name == "bit_flip_attack" and odd.name in REFUSED:
            with pytest.raises(UserError, match=REFUSED[odd.name]):
                measured(probe, classifier, samples)
            continue
        answers = measured(probe, classifier, samples)
        assert weights_digest(classifier) == before, "the probe leaves no trace"
        for setting, logits in answers.items():
            made = damage(classifier, severity, setting.draw, samples.image, samples.label)
            with edited(classifier, made):
                expected, damaged = asked(classifier, samples), weights_digest(classifier)
            assert weights_digest(classifier) == before, "undo is exact"
            assert damaged != before
            assert same(logits, expected) or not odd.repeats, (name, setting)
        record = made if isinstance(made, Record) else made.record
        again = Record.load(record.save(tmp_path / "record.safetensors"))
        assert weights_digest(again.apply(copy.deepcopy(classifier))) == damaged


@torch.no_grad()
def test_one_layer_at_a_time(odd: Any) -> None:
    """Layers before the damage are not computed again, wherever its weights are used from."""
    classifier, samples = met(odd)
    probe = DamageProbe(Zero(), (0.9,), draws=1, by="layer", chunk=8)
    probe.prepare(classifier, None)
    for setting in probe.settings():
        (logits,) = answers_of(probe, classifier, samples, setting)
        selection = Selection(layers=(probe.layers[setting.severity - 1],), own=True)
        with edited(classifier, Zero(selection)(classifier, 0.9, 0)):
            assert same(logits, asked(classifier, samples)) or not odd.repeats, setting
    hit = [
        name for layer in probe.layers for name in Selection((layer,), own=True).names(classifier)
    ]
    assert sorted(hit) == sorted(Selection().names(classifier)), "every weight has its layer"


def answers_of(
    probe: DamageProbe, classifier: Classifier, samples: Samples, setting: Any
) -> list[Tensor]:
    with torch.enable_grad(), leave_no_trace(classifier):
        found = probe.measure(Queries(classifier, 8), samples, [setting])
        return [one.logits for one in found]


@torch.no_grad()
def test_faulty_neurons_are_hooks_by_hand(odd: Any) -> None:
    classifier, samples = met(odd)
    probe = DamageProbe(ActivationFault(), (SHARE,), draws=1, chunk=8)
    if odd.name in ONE_LAYER:
        with pytest.raises(UserError, match="There are no neurons before the logits"):
            measured(probe, classifier, samples)
        return
    ((_, logits),) = measured(probe, classifier, samples).items()
    faults = ActivationFault()(classifier, SHARE, 0, samples.image)
    handles = []
    for name, where in faults.position.items():

        def dead(part: nn.Module, given: Any, output: Tensor, where: Tensor = where) -> Tensor:
            alive = torch.ones(output[0].numel()).index_fill(0, where, 0)
            return output * alive.view_as(output[0]).to(output)

        handles.append(classifier.get_submodule(name).register_forward_hook(dead))
    expected = classifier(samples.image)
    for handle in handles:
        handle.remove()
    assert same(logits + 0, expected + 0) or not odd.repeats, "but for the sign of zero"


def test_what_is_exchanged_is_what_answers(odd: Any) -> None:
    classifier, samples = met(odd)
    before = weights_digest(classifier)
    check_exchangeable(classifier, samples.image)
    assert weights_digest(classifier) == before


class Listed(Base):
    """Reads its weights from a list that was made once."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = [self.head.weight, self.head.bias]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.features(x), *self.kept)


class Closed(Base):
    """Its head is a function that knows the layer it was made with."""

    def __init__(self) -> None:
        super().__init__()
        head = self.head
        self.answer = lambda z: head(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.features(x))


class ListedInAClosure(nn.Module):
    """Neither exchanging nor copying reaches what answers."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(192, 4)
        weights = (self.head.weight, self.head.bias)
        self.answer = lambda z: F.linear(z, *weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(x.flatten(1))


@pytest.mark.parametrize("network", [Listed, Closed, ListedInAClosure])
def test_weights_that_are_kept_elsewhere_are_refused(network: type[nn.Module]) -> None:
    image = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    classifier = load_classifier(network(), data_classes="abcd")
    probe = DamageProbe(Zero())
    probe._example = image, torch.arange(8) % 4
    with pytest.raises(UserError, match="keeps weights or layers in a list, a closure or a global"):
        probe.prepare(classifier, None)


def test_a_network_of_zeros_is_not_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    nn.init.zeros_(network[1].weight)  # type: ignore[arg-type]
    check_exchangeable(network.eval(), torch.rand(2, 3, 8, 8))


def test_a_deep_network_is_not_refused() -> None:
    """Whose answers would be infinite if every layer answered a quarter more."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(192, 16)]
    for _ in range(450):
        layers += [nn.Linear(16, 16), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")  # type: ignore[arg-type]
    check_exchangeable(nn.Sequential(*layers).eval(), torch.rand(2, 3, 8, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "swin_t", "efficientnet_b0", "inception_v3"])
def test_torchvision_networks_are_not_refused(name: str) -> None:
    free = {"init_weights": False} if name == "inception_v3" else {}
    network = torchvision.models.get_model(name, weights=None, **free).eval()
    check_exchangeable(network, torch.rand(2, 3, 96, 96))


@torch.no_grad()
def test_every_parameter_can_be_hit(odd: Any) -> None:
    classifier, _ = met(odd)
    everything = Selection(parameters="all")
    hit, total = everything.reached(classifier)
    assert hit == total
    record = Zero(everything)(classifier, 1.0, 0)
    with edited(classifier, record):
        assert not any(p.count_nonzero() for p in classifier.parameters())
    part = Zero(Selection(parameters="all", scope="tensor"))(classifier, 0.5, 0)
    for name, parameter in classifier.named_parameters():
        chosen = len(part.changes[name].position) if name in part.changes else 0
        zeros = int((parameter == 0).sum())  # what is zero already does not change
        assert round(0.5 * parameter.numel()) - zeros <= chosen <= round(0.5 * parameter.numel())
