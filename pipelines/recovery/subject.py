"""A model with its data, and its damaged variants."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from callbacks.damage import DAMAGES, Damage, Record, Selection, stored_as
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier
from pipelines.recovery.cost import UnitCost
from pipelines.recovery.patient import Stored, stored_before
from pipelines.recovery.training import answers

_GROUP = {"float32": 256, "float16": 512, "bfloat16": 512, "int8": 1024, "int4": 2048}
"""Weights in a signed group: the signatures stay below half a per cent of the weights."""


@dataclass(frozen=True)
class Subject:
    """A model, its data, and what was put aside before any damage.

    Args:
        stored: the original with signatures and ranges.
        data: to train on.
        judged: images that decide, never trained on.
        watched: a part of them for the curves.
        cost: of the original.
        label: for tables.
    """

    stored: Stored
    data: ImageDataModule
    judged: Batch
    watched: Batch
    cost: UnitCost
    label: str

    @cached_property
    def answers(self) -> tuple[Tensor, Tensor]:
        """Predictions of the original, and which are right."""
        return judged_answers(self.stored.original, self.judged)


@dataclass(frozen=True)
class Damaged:
    """A damaged classifier and where it is damaged.

    Args:
        classifier: damaged.
        kind: name of the damage.
        severity: of it.
        seed: of the draw.
        hit: masks of damaged elements, by parameter.
        layers: damaged modules, the worst first.
        held: connections that stay removed.
        data: spoiled training data, if that is the damage.
        facts: of the record.
    """

    classifier: Classifier
    kind: str
    severity: float
    seed: int
    hit: dict[str, Tensor] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    held: dict[str, Tensor] = field(default_factory=dict)
    data: ImageDataModule | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    _right: list[Tensor] = field(default_factory=list)

    def right(self, judged: Batch) -> Tensor:
        """Which answers are right; asked once, for all strategies."""
        if not self._right:
            self._right.append(judged_answers(self.classifier, judged)[1])
        return self._right[0]


def damaged_by(subject: Subject, damage: Damage, severity: float, seed: int) -> Damaged:
    """Damages a copy of the original's weights."""
    original = subject.stored.original
    image, label = None, None
    if damage.name == "bit_flip_attack":
        batch = subject.data.taken("train", 512)
        image, label = batch.image.to(original.device), batch.label.to(original.device)
    record = damage(original, severity, seed, image, label)
    assert isinstance(record, Record)
    hit = record.hit(original.state_dict())
    most = sorted(hit, key=lambda name: -float(hit[name].float().mean()))
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in most))
    hurt = copy.deepcopy(original)
    record.apply(hurt)
    return Damaged(
        hurt, damage.name, severity, seed, hit, layers,
        facts=record.facts,
    )  # fmt: skip


def make_subject(
    classifier: Classifier, data: ImageDataModule, stored_in: str, judged: int, label: str
) -> Subject:
    """Rounds a classifier to its number format and puts aside what repairs may ask for.

    Args:
        classifier: undamaged, changed in place.
        data: to repair with and to test on.
        stored_in: number format of the weights.
        judged: test images that judge.
        label: for tables.
    """
    names = Selection().names(classifier)
    classifier.load_state_dict(stored_as(classifier.state_dict(), names, stored_in))
    batch = data.taken("test", judged)
    images = data.taken("train", 512).image
    stored = stored_before(classifier, names, stored_in, images, _GROUP[stored_in])
    cost = UnitCost.of(classifier, batch.image[:128], batch.label[:128])
    watched = Batch(*(part[:512] for part in batch))
    return Subject(stored, data, batch, watched, cost, label)


def make_damage(name: str, stored_in: str = "float32", layers: Sequence[str] = ()) -> Damage:
    """Makes a damage by name.

    Args:
        name: a key of `DAMAGES`.
        stored_in: number format, for damage of bits.
        layers: modules it is confined to.

    Raises:
        UserError: there is none of that name.
    """
    if name not in DAMAGES:
        raise UserError(f"There is no damage {name!r}.{suggestion(name, DAMAGES)}")
    known = inspect.signature(DAMAGES[name]).parameters
    options: dict[str, Any] = {}
    if layers:
        options["selection"] = Selection(layers=tuple(layers))
    if "format" in known:
        options["format"] = stored_in
    return DAMAGES[name](**options)


def judged_answers(classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
    """Predictions, and which of them are right."""
    logits = answers(classifier, batch).cpu()
    prediction = logits.argmax(1)
    return prediction, (prediction == batch.label) & logits.isfinite().all(1)
