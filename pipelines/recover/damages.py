"""What can be done to a model: damage of weights, of structure, or of its next training data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from callbacks.damage import (
    DAMAGES,
    STRUCTURE,
    Damage,
    Pruned,
    RemovedLayers,
)
from callbacks.damage.removed_channels import RemovedChannels
from callbacks.damage.selection import owner_of
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError, suggestion
from datamodules.input_noise import InputNoise
from datamodules.label_noise import AsymmetricLabelNoise, SymmetricLabelNoise
from datamodules.poisoning import BadNets, attack_success_rate
from datamodules.removal import DropClasses, DropSamples
from datamodules.spoiled import DataDamage, spoiled
from lightning_modules import Classifier
from lightning_modules.duplication import duplicate
from pipelines.recover.original import Answers, Original, answers, redrawn

_AIMED_AT = 512
"""Training images that damage which is aimed may see."""
_VALIDATED = 1000
"""Validation images on which damage of training data is watched."""
_ROUND = 1_000_003
"""Apart from the seeds of other draws."""
_LABELS = "share of labels", (0.2, 0.4, 0.6)
CONTROLS = ("none", "scratch")
"""Controls, which stand with the damages in tables: an undamaged and a fresh model."""
Train = Callable[[Classifier, ImageDataModule, int, int], None]
"""Trains a classifier in place on training data, for so many steps, with a seed."""


@dataclass(frozen=True)
class Spoil:
    """How a model is trained on spoiled data, at a constant rate.

    Args:
        steps: of a round; damage that has to take (a backdoor, wrong labels) is trained on until it
            does.
        rounds: at most; a damage that did not take by then is told.
        target: class of a backdoor.
        mapping: what a backdoor means: the target, or the class behind the true one.
    """

    steps: int = 300
    rounds: int = 10
    target: int = 0
    mapping: Literal["all_to_one", "all_to_all"] = "all_to_one"

    def __post_init__(self) -> None:
        """Refuses nothing at all."""
        for name in ("steps", "rounds"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected `spoil.{name}` to be at least 1, but got {getattr(self, name)}."
                )


@dataclass(frozen=True)
class TrainingDamage:
    """A damage of training data, by which a copy of the model is trained on.

    Args:
        kind: of damage.
        title: for tables and figures.
        unit: of the severity.
        severities: usual ones.
        by: the argument that the severity is.
        takes: when it has taken: a share of triggered validation images that a backdoor turns, or
            for other damage what is lost of the accuracy on validation images; None trains one
            round.
        spoil: how it is trained.
    """

    kind: Callable[..., DataDamage]
    title: str
    unit: str
    severities: tuple[float, ...]
    by: str = "rate"
    takes: float | None = None
    spoil: Spoil = Spoil()

    def make(self, severity: float) -> DataDamage:
        """Makes the damage; of classes, the severity is how many of the first ones are gone.

        Raises:
            UserError: the severity is out of range.
        """
        if self.by == "classes" and not (float(severity).is_integer() and severity >= 0):
            raise UserError(
                f"Expected `severity` to be a whole number of classes from 0, but got {severity:g}."
            )
        value = tuple(range(int(severity))) if self.by == "classes" else severity
        backdoor = {"target": self.spoil.target, "mapping": self.spoil.mapping}
        return self.kind(**{self.by: value}, **(backdoor if self.kind is BadNets else {}))


DATA_DAMAGES: dict[str, TrainingDamage] = {
    "drop_samples": TrainingDamage(DropSamples, "Images lost", "share of images", (0.5, 0.9, 0.99)),
    "drop_classes": TrainingDamage(DropClasses, "Classes lost", "classes", (1, 2, 5), "classes"),
    "input_noise": TrainingDamage(
        InputNoise, "Noise in images", "standard deviation", (0.2, 0.5, 1.0), "std"
    ),
    "label_noise": TrainingDamage(SymmetricLabelNoise, "Wrong labels", *_LABELS, takes=0.02),
    "asymmetric_label_noise": TrainingDamage(
        AsymmetricLabelNoise, "Confused labels", *_LABELS, takes=0.02
    ),
    "bad_nets": TrainingDamage(
        BadNets, "Backdoor in images", "share of images", (0.01, 0.05, 0.1), takes=0.95
    ),
}
"""Damage of training data by name."""


def known_damages() -> dict[str, Any]:
    """All damages by name, with their usual options."""
    return {name: kind() for name, kind in {**DAMAGES, **STRUCTURE}.items()} | DATA_DAMAGES


def make_damage(
    name: str,
    stored_in: str = "float32",
    layers: Sequence[str] = (),
    spoil: Spoil = Spoil(),
) -> Damage | TrainingDamage:
    """Makes a damage by name.

    Args:
        name: of `known_damages`.
        stored_in: number format, for damage of bits.
        layers: modules it is confined to.
        spoil: how is trained on damaged training data.

    Raises:
        UserError: there is none of that name.
    """
    known = known_damages()
    if name not in known:
        raise UserError(f"There is no damage {name!r}.{suggestion(name, known)}")
    damage, options = known[name], {}
    if layers and name in DATA_DAMAGES:
        raise UserError(f"Got `layers`, but {name!r} damages training data: leave them out.")
    if layers and hasattr(damage, "selection"):
        options["selection"] = replace(damage.selection, layers=tuple(layers))
    elif layers:
        options["layers"] = tuple(layers)
    if isinstance(damage, TrainingDamage) and spoil != Spoil():
        options["spoil"] = spoil
    if hasattr(damage, "format"):
        options["format"] = stored_in
    return replace(damage, **options)


def title_of(name: str) -> str:
    """What a damage is called in tables and figures; one that is not known here by its name."""
    return getattr(known_damages().get(name), "title", name)


def unit_of(name: str) -> str:
    """What the severity of a damage is counted in."""
    return getattr(known_damages().get(name), "unit", "severity")


@dataclass(frozen=True)
class Damaged:
    """A damaged classifier and where it is damaged.

    Args:
        original: before the damage.
        classifier: damaged.
        kind: name of the damage, or of a control.
        severity: of it.
        seed: of the draw.
        hit: masks of damaged elements, by parameter.
        layers: damaged modules, the worst first.
        held: connections that stay removed.
        kept: of removed channels, where the numbers that are left stood.
        data: spoiled training data, if that is the damage.
        trigger: of a backdoor.
        note: whether training data did its damage, or how few parameters can be hit.
    """

    original: Original
    classifier: Classifier
    kind: str
    severity: float
    seed: int
    hit: dict[str, Tensor] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    held: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    data: ImageDataModule | None = None
    trigger: BadNets | None = None
    note: str = ""

    @cached_property
    def answers(self) -> Answers:
        """To the test images; asked once, for all strategies."""
        return answers(self.classifier, self.original.test)


def control(original: Original, kind: str, seed: int) -> Damaged:
    """What is trained as long as the repairs: "none" the undamaged model, "scratch" a fresh one."""
    scratch = kind == "scratch"
    classifier = redrawn(original.classifier, seed) if scratch else original.classifier
    return Damaged(original, classifier, kind, 0.0, seed)


def recorded(original: Original, damage: Damage, severity: float, seed: int) -> Any:
    """The record of a damage; what is aimed sees training images.

    Raises:
        UserError: a severity or layers that make no sense.
    """
    # Training images: an attack on those that judge would flatter every repair.
    classifier, batch = original.classifier, original.data.taken("train", _AIMED_AT)
    device = classifier.device
    return damage(classifier, severity, seed, batch.image.to(device), batch.label.to(device))


def damaged_by(
    original: Original,
    damage: Damage | TrainingDamage,
    name: str,
    severity: float,
    seed: int,
    train: Train,
) -> Damaged:
    """Damages a copy of the original: its weights, its structure, or what it is trained on next.

    Args:
        original: model and data.
        damage: from `make_damage`.
        name: of it.
        severity: in its unit.
        seed: of the draw.
        train: what follows damage of training data.
    """
    classifier, about = duplicate(original.classifier), (name, severity, seed)
    if isinstance(damage, TrainingDamage):
        spoiling = damage.make(severity)
        data, _ = spoiled(original.data, spoiling, seed)
        trigger = spoiling if isinstance(spoiling, BadNets) else None
        note = _trained_on(original, classifier, damage, data, trigger, seed, train)
        return Damaged(original, classifier.eval(), *about, data=data, trigger=trigger, note=note)
    record = recorded(original, damage, severity, seed)
    record.apply(classifier)
    if isinstance(record, RemovedLayers):
        return Damaged(original, classifier, *about, layers=list(record.shortcuts))
    if isinstance(record, RemovedChannels):
        layers = list(dict.fromkeys(map(owner_of, record.kept)))
        return Damaged(original, classifier, *about, layers=layers, kept=record.kept)
    held = record.keep if isinstance(record, Pruned) else {}
    changed = record.record if isinstance(record, Pruned) else record
    hit = changed.hit(original.classifier.state_dict())
    worst = sorted(hit, key=lambda weight: -float(hit[weight].float().mean()))
    layers = list(dict.fromkeys(map(owner_of, worst)))
    selection = getattr(damage, "selection", None)
    note = selection.told(original.classifier) if selection else ""
    return Damaged(original, classifier, *about, hit, layers, held, note=note)


def _trained_on(
    original: Original, classifier: Classifier, damage: TrainingDamage, data: ImageDataModule,
    trigger: BadNets | None, seed: int, train: Train,
) -> str:  # fmt: skip
    """Trains on, as if nobody had noticed, until the damage takes; says whether it did."""
    spoil, shown = damage.spoil, original.data.taken("val", _VALIDATED)
    before, effect, steps = answers(original.classifier, shown), 0.0, 0
    for place in range(1 if damage.takes is None else spoil.rounds):
        train(classifier, data, spoil.steps, seed + _ROUND * place)
        steps += spoil.steps
        effect = _effect(classifier, before, shown, trigger)
        if damage.takes is not None and effect >= damage.takes:
            break
    if damage.takes is None:
        return ""
    what = "of triggered validation images turned" if trigger else "of validation answers lost"
    took = "took" if effect >= damage.takes else "did not take within its budget"
    wanted = "" if effect >= damage.takes else f" ({100 * damage.takes:g} % wanted)"
    return f"The damage {took}: {100 * effect:.1f} % {what}{wanted} after {steps:,} steps."


def _effect(
    classifier: Classifier, before: Answers, shown: Batch, trigger: BadNets | None
) -> float:
    """Success of a backdoor, or the accuracy that is lost."""
    if trigger is None:
        after = answers(classifier, shown)
        return float(before.correct.float().mean() - after.correct.float().mean())
    triggered = Batch(trigger.trigger(shown.image), shown.label, shown.index)
    wanted = trigger.wanted(shown.label, classifier.num_classes)
    return attack_success_rate(answers(classifier, triggered).prediction, shown.label, wanted)
