"""A repair under way: the damaged model, and what the strategy is allowed to know and to spend."""

import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import Tensor, nn

from callbacks.damage.signatures import Signatures
from callbacks.damage.variant import duplicate
from datamodules import Batch, ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier, Tuning
from lightning_modules.recovery import Ranges
from pipelines.recover.damages import Damaged
from pipelines.recover.original import redrawn

Knowledge = Literal[
    "original", "signatures", "ranges", "location", "labels", "images", "clean data"
]
"""Original weights; checksums or activation ranges stored beforehand; which weights are damaged;
labelled or unlabelled images; training data before it was spoiled."""
_CURVE = 512
"""Test images at most on which the accuracy is measured during a training."""
KNOWLEDGE: tuple[Knowledge, ...] = get_args(Knowledge)


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


@dataclass
class Spent:
    """What a repair took."""

    steps: int = 0
    samples: int = 0
    labels: int = 0
    images: int = 0
    forwards: int = 0
    storage_bits: int = 0


class Repair:
    """What a strategy is handed; knowledge that it has not declared is refused.

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
        self._original, self._damaged, self._knows = damaged.original, damaged, knows
        self.effort, self.seed, self.flags = effort, seed, flags or {}
        self.classifier = duplicate(damaged.classifier)
        """Damaged; changed in place or replaced."""
        self.classifier.chunk = max(1, self.classifier.chunk // share)
        self.data = copy.copy(damaged.data or damaged.original.data)
        """To train on; spoiled where that is the damage."""
        self.data.batch_size = max(1, self.data.batch_size // share)
        self.curve_test = Batch(*(part[:_CURVE] for part in damaged.original.test))
        """On which curves are measured; never trained on."""
        self.held = damaged.held
        """Connections that are gone for good, by parameter: True where kept."""
        self.spent = Spent()
        self.curve: list[dict[str, float]] = []
        self.measuring = 0.0
        """Seconds of measuring the curve, which are no part of the repair."""
        self._stored: dict[str, int] = {}

    def original(self) -> Classifier:
        """A copy of the undamaged classifier."""
        state = self._original.classifier.state_dict()
        self._ask("original", 8 * sum(tensor.nbytes for tensor in state.values()))
        return duplicate(self._original.classifier)

    def signatures(self) -> Signatures:
        """Checksums of the undamaged weights."""
        self._ask("signatures", self._original.signatures.bits)
        return self._original.signatures

    def ranges(self) -> Ranges:
        """Ranges of the undamaged activations."""
        self._ask("ranges", self._original.ranges.bits)
        return self._original.ranges

    def location(self) -> dict[str, Tensor]:
        """Masks of the damaged elements, by parameter."""
        self._ask("location")
        return self._damaged.hit

    def damaged_layers(self) -> list[str]:
        """Names of the damaged modules, the one with most damaged elements first."""
        self._ask("location")
        return self._damaged.layers

    def images(self) -> Tensor:
        """Unlabelled training images, as many as the effort allows."""
        self._ask("images")
        image = self.data.taken("train", self.effort.images).image
        self.spent.images += len(image)
        return image

    def undamaged_data(self) -> ImageDataModule:
        """The training data as it was before it was spoiled."""
        self._ask("clean data")
        return self._original.data

    def check(self, what: Knowledge) -> None:
        """Refuses knowledge that the strategy has not declared.

        Raises:
            AssertionError: a mistake in the strategy.
        """
        if what not in self._knows:
            raise AssertionError(f"The strategy has not declared that it knows {what!r}.")

    def shape(self, name: str) -> torch.Size:
        """Of an undamaged parameter; the architecture is no secret."""
        return self._original.classifier.get_parameter(name).shape

    def fresh_layers(self, names: list[str]) -> dict[str, nn.Module]:
        """Undamaged modules by name, with weights drawn anew."""
        layers = [self._original.classifier.get_submodule(name) for name in names]
        return dict(zip(names, redrawn(nn.ModuleList(layers), self.seed), strict=True))

    def _ask(self, what: Knowledge, bits: int = 0) -> None:
        """Counts the bits that were stored for it, once however often it is asked for."""
        self.check(what)
        self._stored[what] = bits
        self.spent.storage_bits = sum(self._stored.values())
