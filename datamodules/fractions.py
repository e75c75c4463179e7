"""A part of the labelled images: so many a class, so many in all, or all of them."""

import re
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages, Images
from datamodules.splits import limited, stratified_order, stratified_split

_HELD_OUT, _MOST_HELD_OUT = 0.2, 2000


@dataclass(frozen=True)
class Fraction:
    """How many labelled images a model may learn from, those it is selected by included.

    Args:
        text: `5/class`, `1000` or `all`.

    Raises:
        UserError: it is none of these.
    """

    text: str

    def __post_init__(self) -> None:
        """Refuses what is no number of images."""
        if self.text != "all" and not re.fullmatch(r"[1-9]\d*(/class)?", self.text):
            raise UserError(
                f"Expected `fractions` like 5/class, 1000 or all, but got {self.text!r}."
            )

    def __str__(self) -> str:
        return self.text

    def choose(self, label: Tensor, classes: int, seed: int) -> Tensor:
        """Chooses positions, every class in its share; a larger fraction holds a smaller one.

        Args:
            label: `(N,)` of all labelled images.
            classes: how many the data set has.
            seed: of the choice.

        Returns:
            Sorted positions.

        Raises:
            UserError: fewer images than classes, or a class with fewer than are wanted.
        """
        if self.text == "all":
            return torch.arange(len(label))
        count, _, each = self.text.partition("/")
        if each:
            return self._of_each(label, classes, int(count), seed)
        if int(count) < classes:
            raise UserError(
                f"Expected `fractions` of at least one image a class, but got {count} for "
                f"{classes} classes: give {classes} or more, or 1/class."
            )
        return limited(label, int(count), seed)

    def _of_each(self, label: Tensor, classes: int, count: int, seed: int) -> Tensor:
        fewest = int(label.bincount(minlength=classes).min())
        if fewest < count:
            raise UserError(
                f"Expected at least {count} labelled images of every class for `fractions` "
                f"{self.text}, but one class has {fewest}: give a smaller fraction."
            )
        order = stratified_order(label, seed)
        parts = [order[label[order] == c][:count] for c in range(classes)]
        return torch.cat(parts).sort().values


def held_out(label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Splits labelled images into those to learn from and those to select by (VTAB: 800 + 200).

    Args:
        label: `(n,)`.
        seed: of the choice.

    Returns:
        Positions of both; all and none where a class may have but one image.
    """
    n, classes = len(label), len(label.unique())
    share = min(_HELD_OUT, _MOST_HELD_OUT / n)
    if n < 2 * classes or max(ceil(n * share), classes) >= n:
        return torch.arange(n), torch.arange(0)
    return stratified_split(label, share, seed)


def labelled(data: ImageDataModule) -> Images:
    """All images that are not for testing, nor in a validation split of the data set's own."""
    train, val = data.images("train"), data.images("val")
    if data.has_val:
        return train
    every = data.load("train")
    kept = torch.isin(
        every.index, torch.cat([train.index, val.index])
    )  # readable, within the limit
    every.preprocessing = data.preprocessing
    if isinstance(train, FileImages) and isinstance(every, FileImages):
        every.shapes = train.shapes  # found when the files were looked through
    return every.subset(kept.nonzero()[:, 0])


def with_images(data: ImageDataModule, **splits: Images) -> ImageDataModule:
    """See `ImageDataModule.with_images`."""
    return data.with_images(**splits)
