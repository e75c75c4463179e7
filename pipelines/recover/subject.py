"""A model with its data, and its damaged variants."""

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from callbacks.damage import (
    DAMAGES,
    STRUCTURE,
    Damage,
    Pruned,
    Record,
    RemovedLayers,
    Selection,
    stored_as,
)
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError, suggestion
from datamodules.input_noise import InputNoise
from datamodules.label_noise import AsymmetricLabelNoise, SymmetricLabelNoise
from datamodules.poisoning import BadNets
from datamodules.removal import DropClasses, DropSamples
from datamodules.spoiled import DataDamage, spoiled
from lightning_modules import Classifier, Tuning
from lightning_modules.recovery import Recovery
from pipelines.recover.cost import UnitCost
from pipelines.recover.patient import Stored, stored_before
from pipelines.recover.training import answers, run, shuffled

_GROUP = {"float32": 256, "float16": 512, "bfloat16": 512, "int8": 1024, "int4": 2048}
"""Weights in a signed group: the signatures stay below half a per cent of the weights."""


@dataclass(frozen=True)
class TrainingData:
    """A damage of training data, by which a copy of the model is trained on.

    Args:
        kind: of damage.
        severities: usual ones.
        by: the argument that the severity is.
        steps: of the training.
    """

    kind: Callable[..., DataDamage]
    severities: tuple[float, ...]
    by: str = "rate"
    steps: int = 300

    @property
    def name(self) -> str:
        """As on the command line."""
        return next(name for name, one in DATA_DAMAGES.items() if one.kind is self.kind)

    def make(self, severity: float) -> DataDamage:
        """Makes the damage; of classes, the severity is how many of the first ones are gone."""
        if self.by == "classes":
            return self.kind(tuple(range(int(severity))))
        return self.kind(**{self.by: severity})


DATA_DAMAGES: dict[str, TrainingData] = {
    "drop_samples": TrainingData(DropSamples, (0.5, 0.9, 0.99)),
    "drop_classes": TrainingData(DropClasses, (1, 2, 5), by="classes"),
    "input_noise": TrainingData(InputNoise, (0.2, 0.5, 1.0), by="std"),
    "label_noise": TrainingData(SymmetricLabelNoise, (0.2, 0.4, 0.6)),
    "asymmetric_label_noise": TrainingData(AsymmetricLabelNoise, (0.2, 0.4, 0.6)),
    "bad_nets": TrainingData(BadNets, (0.01, 0.05, 0.1)),
}
"""Damage of training data by name."""


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
        trigger: of a backdoor.
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
    trigger: BadNets | None = None
    _right: list[Tensor] = field(default_factory=list)

    def right(self, judged: Batch) -> Tensor:
        """Which answers are right; asked once, for all strategies."""
        if not self._right:
            self._right.append(judged_answers(self.classifier, judged)[1])
        return self._right[0]


def damaged_by(
    subject: Subject,
    damage: "Damage | TrainingData",
    severity: float,
    seed: int,
    trainer: dict[str, Any] | None = None,
) -> Damaged:
    """Damages a copy of the original: its weights, its structure, or what it is trained on next.

    Args:
        subject: model and data.
        damage: from `make_damage`.
        severity: in its unit.
        seed: of the draw.
        trainer: flags of Lightning's Trainer, for training on spoiled data.
    """
    if isinstance(damage, TrainingData):
        return _misled(subject, damage, severity, seed, trainer or {})
    original, hurt = subject.stored.original, copy.deepcopy(subject.stored.original)
    batch = subject.data.taken("train", 512)
    image, label = batch.image.to(original.device), batch.label.to(original.device)
    record: Any = damage(original, severity, seed, image, label)
    record.apply(hurt)
    hit: dict[str, Tensor] = {}
    layers = list(record.shortcuts) if isinstance(record, RemovedLayers) else []
    held = record.keep if isinstance(record, Pruned) else {}
    if isinstance(record, Record):
        hit = record.hit(original.state_dict())
        most = sorted(hit, key=lambda name: -float(hit[name].float().mean()))
        layers = list(dict.fromkeys(name.rpartition(".")[0] for name in most))
    return Damaged(hurt, damage.name, severity, seed, hit, layers, held, facts=record.facts)


def _misled(
    subject: Subject, damage: "TrainingData", severity: float, seed: int, trainer: dict[str, Any]
) -> Damaged:
    """Trains a copy of the original on spoiled data, as someone would who had not noticed."""
    made = damage.make(severity)
    data, record = spoiled(subject.data, made, seed)
    hurt = copy.deepcopy(subject.stored.original)
    run(Recovery(hurt, Tuning()), shuffled(data, seed), damage.steps, trainer)
    trigger = made if isinstance(made, BadNets) else None
    return Damaged(
        hurt.eval(), damage.name, severity, seed, data=data, facts=record.facts, trigger=trigger
    )


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


def make_damage(
    name: str, stored_in: str = "float32", layers: Sequence[str] = ()
) -> Damage | TrainingData:
    """Makes a damage by name.

    Args:
        name: a key of `DAMAGES`.
        stored_in: number format, for damage of bits.
        layers: modules it is confined to.

    Raises:
        UserError: there is none of that name.
    """
    known = {**DAMAGES, **STRUCTURE, **DATA_DAMAGES}
    if name not in known:
        raise UserError(f"There is no damage {name!r}.{suggestion(name, known)}")
    if name in DATA_DAMAGES:
        if layers:
            raise UserError(f"Got `layers`, but {name!r} damages training data: leave them out.")
        return DATA_DAMAGES[name]
    takes = inspect.signature(known[name]).parameters
    options: dict[str, Any] = {}
    if layers and "layers" in takes:
        options["layers"] = tuple(layers)
    elif layers:
        options["selection"] = Selection(layers=tuple(layers))
    if "format" in takes:
        options["format"] = stored_in
    return {**DAMAGES, **STRUCTURE}[name](**options)


def judged_answers(classifier: Classifier, batch: Batch) -> tuple[Tensor, Tensor]:
    """Predictions, and which of them are right."""
    logits = answers(classifier, batch).cpu()
    prediction = logits.argmax(1)
    return prediction, (prediction == batch.label) & logits.isfinite().all(1)
