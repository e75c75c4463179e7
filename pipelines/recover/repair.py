"""A repair under way: the damaged model, and what the strategy is allowed to know and to spend."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import torch
from torch import Tensor, nn

from callbacks.damage.signatures import Signatures
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError
from datamodules.spoiled import Spoiling, spoiled
from lightning_modules import Classifier, Tuning
from lightning_modules.duplication import duplicate
from lightning_modules.recovery import Ranges
from pipelines.recover.damages import Damaged
from pipelines.recover.original import answers, redrawn

Knowledge = Literal[
    "original", "signatures", "ranges", "location", "labels", "images", "clean data"
]
"""Original weights; checksums or activation ranges stored beforehand; which weights are damaged;
labelled or unlabelled images; training data before it was spoiled."""
CURVE = 512
"""Test images at most, the first ones, on which the accuracy is measured during a training."""
KNOWLEDGE: tuple[Knowledge, ...] = get_args(Knowledge)


@dataclass(frozen=True)
class Effort:
    """How much a repair may spend.

    Args:
        steps: of the optimizer.
        images: unlabelled images of repairs that do not train.
        tuning: recipe of repairs that train; what learns a teacher's answers instead of labels has
            a loss of its own. Which parts train is the strategy's matter, and a moving average has
            no place in a few steps: `mode` and `ema` are refused.
        points: measurements of the accuracy on the way.
        epochs: passes over the training data, instead of `steps`.
    """

    steps: int = 100
    images: int = 512
    tuning: Tuning = Tuning()  # noqa: RUF009  (frozen)
    points: int = 8
    epochs: float | None = None

    def __post_init__(self) -> None:
        """Refuses nothing at all, and what would have no effect."""
        for name in ("steps", "images", "points"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected `effort.{name}` to be at least 1, but got {getattr(self, name)}."
                )
        if self.epochs is not None and not 0 < self.epochs < math.inf:
            raise UserError(f"Expected `effort.epochs` to be positive, but got {self.epochs:g}.")
        if self.epochs is not None and self.steps != Effort.steps:
            raise UserError("Expected `effort.steps` or `effort.epochs`, not both.")
        if self.tuning.mode != "full":
            raise UserError(
                "Expected no `effort.tuning.mode`: choose what is trained by --strategies, e.g. "
                "retrain_last."
            )
        if self.tuning.ema:
            raise UserError("Expected no `effort.tuning.ema`: repairs keep no moving average.")

    def steps_on(self, data: ImageDataModule) -> int:
        """Steps of the optimizer, which epochs give in batches of the data."""
        if self.epochs is None:
            return self.steps
        return max(1, round(self.epochs * math.ceil(len(data.images("train")) / data.batch_size)))

    def by(self, recipe: str) -> "Effort":
        """The same effort with another optimizer: `sgd`, or with its learning rate `sgd:0.03`.

        Raises:
            UserError: no such optimizer, or no learning rate.
        """
        optimizer, _, lr = recipe.partition(":")
        try:
            rate = float(lr) if lr else None
        except ValueError:
            rate = -1.0
        known = get_args(get_type_hints(Tuning)["optimizer"])
        if optimizer not in known or (rate is not None and rate <= 0):
            raise UserError(
                f"Expected a recipe like adamw:0.003, of {', '.join(known)}, but got {recipe!r}."
            )
        return replace(self, tuning=replace(self.tuning, optimizer=optimizer, lr=rate))

    @property
    def recipe(self) -> str:
        """Optimizer and learning rate, for tables."""
        rate = self.tuning.lr
        return self.tuning.optimizer if rate is None else f"{self.tuning.optimizer} {rate:g}"


@dataclass
class Spent:
    """What a repair took; `flops` are those of the training, without `forwards` besides."""

    steps: int = 0
    samples: int = 0
    labels: int = 0
    images: int = 0
    forwards: int = 0
    flops: float = 0.0
    storage_bits: int = 0


class Repair:
    """What a strategy is handed: the damaged model, and of everything else what it declared.

    What was not declared is not in here at all, so that no attribute leads to it.

    Args:
        damaged: copied.
        knows: what the strategy declares to know.
        effort: what may be spent.
        seed: of the training.
        flags: of Lightning's Trainer.
        share: divides batch and chunk, for lack of memory.
    """

    def __init__(
        self,
        damaged: Damaged,
        knows: frozenset[Knowledge],
        effort: Effort,
        seed: int = 0,
        flags: dict[str, Any] | None = None,
        share: int = 1,
    ) -> None:
        original = damaged.original
        self.effort, self.seed, self.flags = effort, seed, flags or {}
        self.classifier = duplicate(damaged.classifier)
        """Damaged; changed in place or replaced."""
        self.classifier.chunk = max(1, self.classifier.chunk // share)
        data = copy.copy(damaged.data or original.data)
        data.batch_size = self.batch_size = max(1, data.batch_size // share)
        self._known = {what: made for what, made in _given(damaged, data).items() if what in knows}
        self.judged = _judge(Batch(*(part[:CURVE] for part in original.test)))
        """Accuracy and loss of a classifier, on images that are never trained on."""
        self.shape = _shapes(original.classifier).__getitem__
        """Of an undamaged parameter; the architecture is no secret."""
        self.fresh_layers = _drawn_anew(original.classifier, seed)
        """Undamaged modules by name, with weights drawn anew, of a list of names."""
        self.held = dict(damaged.held)
        """Connections that are gone, by parameter: True where kept."""
        self.spent = Spent()
        self.note = ""
        """What a reader of the row must know."""
        self.curve: list[dict[str, float]] = []
        self.measuring = 0.0
        """Seconds of measuring the curve, which are no part of the repair."""
        self._stored: dict[str, int] = {}

    @property
    def data(self) -> ImageDataModule:
        """To train on; spoiled where that is the damage, and without labels if none are known."""
        return self._take("labels" if "labels" in self._known else "images")

    def original(self) -> Classifier:
        """A copy of the undamaged classifier."""
        classifier = self._take("original")
        bits = 8 * sum(tensor.nbytes for tensor in classifier.state_dict().values())
        return self._stored_before("original", bits, classifier)

    def signatures(self) -> Signatures:
        """Checksums of the undamaged weights."""
        signatures = self._take("signatures")
        return self._stored_before("signatures", signatures.bits, signatures)

    def ranges(self) -> Ranges:
        """Ranges of the undamaged activations."""
        ranges = self._take("ranges")
        return self._stored_before("ranges", ranges.bits, ranges)

    def location(self) -> dict[str, Tensor]:
        """Masks of the damaged elements, by parameter; empty where whole parts are gone."""
        return self._take("location").hit

    def damaged_layers(self) -> list[str]:
        """Names of the damaged modules, the one with most damaged elements first."""
        return self._take("location").layers

    def kept_channels(self) -> dict[str, Tensor]:
        """Where the numbers that are left stood in the undamaged tensors, by name."""
        return self._take("location").kept

    def images(self) -> Tensor:
        """Unlabelled training images, as many as the effort allows."""
        image = self._take("images").taken("train", self.effort.images).image
        self.reads(len(image))
        return image

    def undamaged_data(self) -> ImageDataModule:
        """The training data as it was before it was spoiled."""
        return self._take("clean data")

    def reads(self, images: int, labels: int = 0) -> None:
        """Counts different images and labels that were read; those of later uses are the same."""
        self.spent.images = max(self.spent.images, images)
        self.spent.labels = max(self.spent.labels, labels)

    def check(self, what: Knowledge) -> None:
        """Refuses knowledge that the strategy has not declared.

        Raises:
            AssertionError: a mistake in the strategy.
        """
        if what not in self._known:
            raise AssertionError(f"The strategy has not declared that it knows {what!r}.")

    def _take(self, what: Knowledge) -> Any:
        self.check(what)
        return self._known[what]()

    def _stored_before(self, what: Knowledge, bits: int, value: Any) -> Any:
        """Counts the bits that were stored for it, once however often it is asked for."""
        self._stored[what] = bits
        self.spent.storage_bits = sum(self._stored.values())
        return value


class _Place(NamedTuple):
    """Where the damage is."""

    hit: dict[str, Tensor]
    layers: list[str]
    kept: dict[str, Tensor]


class _Hidden:
    """Takes all labels away, as a damage of training data."""

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`."""
        return Spoiling(index.sort().values, torch.zeros_like(label), facts={"kind": "hidden"})


def _given(damaged: Damaged, data: ImageDataModule) -> dict[Knowledge, Callable[[], Any]]:
    """Everything that could be known, made when it is asked for."""
    original = damaged.original
    return {
        "original": lambda: duplicate(original.classifier),
        "signatures": lambda: original.signatures,
        "ranges": lambda: original.ranges,
        "location": lambda: _Place(damaged.hit, damaged.layers, damaged.kept),
        "labels": lambda: data,
        "images": lambda: spoiled(data, _Hidden())[0],
        "clean data": lambda: original.data,
    }


def _judge(batch: Batch) -> Callable[[Classifier], dict[str, float]]:
    def judged(classifier: Classifier) -> dict[str, float]:
        told = answers(classifier, batch)
        return {"acc": float(told.correct.float().mean()), "loss": float(told.loss.mean())}

    return judged


def _shapes(classifier: Classifier) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in classifier.named_parameters()}


def _drawn_anew(
    classifier: Classifier, seed: int
) -> Callable[[Sequence[str]], dict[str, nn.Module]]:
    def fresh(names: Sequence[str]) -> dict[str, nn.Module]:
        layers = [classifier.get_submodule(name) for name in names]
        return dict(zip(names, redrawn(nn.ModuleList(layers), seed), strict=True))

    return fresh
