"""A damaged classifier and what its repair is allowed to know."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import Tensor

from callbacks.damage.signatures import Signatures
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier, Tuning
from lightning_modules.recovery import Ranges

Knowledge = Literal[
    "original", "signatures", "ranges", "location", "labels", "images", "clean data"
]
"""Original weights; checksums or activation ranges stored beforehand; which weights are damaged;
labelled or unlabelled images; training data before it was spoiled."""


@dataclass(frozen=True)
class Effort:
    """How much a repair may spend.

    Args:
        steps: of the optimizer.
        images: unlabelled images of repairs that do not train.
        tuning: optimizer, learning rate and schedule of repairs that train.
        points: measurements of the accuracy on the way.
    """

    steps: int = 100
    images: int = 512
    tuning: Tuning = Tuning()  # noqa: RUF009  (frozen)
    points: int = 8

    def __post_init__(self) -> None:
        """Refuses nothing at all."""
        for name in ("steps", "images", "points"):
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected `effort.{name}` to be at least 1, but got {getattr(self, name)}."
                )

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


@dataclass(frozen=True)
class Stored:
    """What was put aside before the damage.

    Args:
        original: the undamaged classifier.
        signatures: of its stored weights.
        ranges: of its activations.
    """

    original: Classifier
    signatures: Signatures
    ranges: Ranges


@dataclass
class Spent:
    """What a repair took."""

    steps: int = 0
    samples: int = 0
    labels: int = 0
    images: int = 0
    forwards: int = 0
    storage_bits: int = 0


@dataclass
class Patient:
    """What a strategy is handed: knowledge that it has not declared is refused.

    Args:
        classifier: damaged; changed in place or replaced.
        allowed: what the strategy declares to know.
        stored: before the damage.
        data: images to train on, spoiled if they are what was damaged.
        clean: the data before it was spoiled.
        hit: masks of the damaged elements, by parameter.
        layers: names of damaged modules.
        held: connections that are gone for good: True where kept.
        effort: what may be spent.
        seed: of the training.
        measured: batch on which curves are measured; never trained on.
    """

    classifier: Classifier
    allowed: frozenset[Knowledge]
    stored: Stored
    data: ImageDataModule
    clean: ImageDataModule
    hit: dict[str, Tensor]
    layers: list[str]
    held: dict[str, Tensor]
    effort: Effort
    seed: int
    measured: Batch
    trainer: dict[str, Any] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    curve: list[dict[str, float]] = field(default_factory=list)

    def original(self) -> Classifier:
        """A copy of the undamaged classifier."""
        self._may("original")
        state = self.stored.original.state_dict()
        self.spent.storage_bits += 8 * sum(tensor.nbytes for tensor in state.values())
        return copy.deepcopy(self.stored.original)

    def signatures(self) -> Signatures:
        """Checksums of the undamaged weights."""
        self._may("signatures")
        self.spent.storage_bits += self.stored.signatures.bits
        return self.stored.signatures

    def ranges(self) -> Ranges:
        """Ranges of the undamaged activations."""
        self._may("ranges")
        self.spent.storage_bits += self.stored.ranges.bits
        return self.stored.ranges

    def location(self) -> dict[str, Tensor]:
        """Masks of the damaged elements."""
        self._may("location")
        return self.hit

    def damaged_layers(self) -> list[str]:
        """Names of the damaged modules, the one with most damaged elements first."""
        self._may("location")
        return self.layers

    def images(self) -> Tensor:
        """Unlabelled training images, as many as the effort allows."""
        self._may("images")
        image = self.data.taken("train", self.effort.images).image
        self.spent.images += len(image)
        return image

    def undamaged_data(self) -> ImageDataModule:
        """The training data as it was before it was spoiled."""
        self._may("clean data")
        return self.clean

    def _may(self, what: Knowledge) -> None:
        if what not in self.allowed:
            raise AssertionError(f"The strategy has not declared that it knows {what!r}.")


KNOWLEDGE: tuple[Knowledge, ...] = get_args(Knowledge)


@torch.no_grad()
def stored_before(
    original: Classifier, names: list[str], stored_in: str, images: Tensor, group: int
) -> Stored:
    """Puts aside what repairs may ask for.

    Args:
        original: undamaged.
        names: of the signed weights.
        stored_in: number format of the weights.
        images: to profile activations on.
        group: weights in a signed group.
    """
    state = original.state_dict()
    signatures = Signatures.of({name: state[name] for name in names}, stored_in, group)
    ranges = Ranges.measured(original.eval(), images.to(original.device).split(128))
    return Stored(copy.deepcopy(original), signatures, ranges)
