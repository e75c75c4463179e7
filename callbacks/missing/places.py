"""Parts of an image that go missing: pixels, patches, rows, columns, channels, the whole image."""

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from callbacks.missing.missing_input import Fill, Given, Loss, checked_fill, filled, ranked
from datamodules.errors import UserError

_GRIDS, _LEAST = (14, 8, 7), 4
"""Patches along each side: the first that cuts the image evenly into patches of 4 px at least; 14
are those of 2105.10497 at 224 px."""


@dataclass(frozen=True)
class Filled:
    """Something that leaves a fill behind.

    Args:
        fill: "black", "mean" (of the data, by channel) or "noise"; it is part of the result.
    """

    fill: Fill = "black"
    salient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuses a fill that there is not."""
        checked_fill(self.fill)


@dataclass(frozen=True)
class Pixels(Filled):
    """Single pixels are lost, all their channels together."""

    name: ClassVar[str] = "pixels"
    title: ClassVar[str] = "Pixels lost"

    def __call__(self, given: Given) -> Loss:
        """Each with the probability of the rate; see `MissingInput`."""
        height, width = given.image.shape[-2:]
        order = given.draw.uniform(self.name, 0, (1, height, width))
        return Loss(order, filled(self.fill, given, self.name))


@dataclass(frozen=True)
class Patches(Filled):
    """Random patches of a grid are lost (Naseer et al. 2021, 2105.10497).

    Args:
        fill: see `Filled`.
        grid: patches along each side; None takes 14, 8 or 7, what cuts the image evenly.
    """

    name: ClassVar[str] = "patches"
    title: ClassVar[str] = "Patches lost"
    grid: int | None = None

    def __post_init__(self) -> None:
        """Refuses no patches."""
        super().__post_init__()
        if self.grid is not None and self.grid < 1:
            raise UserError(f"Expected `grid` of at least 1, but got {self.grid}.")

    def __call__(self, given: Given) -> Loss:
        """Exactly the rate of all patches, to the nearest one; see `MissingInput`."""
        grid = self.patches(given.image)
        first = self.number(given, grid)
        order = ranked(first.flatten(1)).view(-1, 1, grid, grid)
        size = given.image.shape[-2:]
        return Loss(F.interpolate(order, size, mode="nearest"), filled(self.fill, given, self.name))

    def patches(self, image: Tensor) -> int:
        """Along each side, no more than there are pixels."""
        sides = image.shape[-2:]
        even = [g for g in _GRIDS if all(s % g == 0 and s // g >= _LEAST for s in sides)]
        return min(self.grid or next(iter(even), 7), *sides)

    def number(self, given: Given, grid: int) -> Tensor:
        """`(N, 1, grid, grid)`; patches of the smallest go first."""
        return given.draw.uniform(self.name, 0, (1, grid, grid))


@dataclass(frozen=True)
class SalientPatches(Patches):
    """The patches that matter most to the model are lost first.

    They are those of the largest mean absolute gradient of its largest logit. Naseer et al. take
    the foreground as DINO sees it; here the model under test is asked itself.
    """

    name: ClassVar[str] = "salient_patches"
    title: ClassVar[str] = "Salient patches lost"
    salient: ClassVar[bool] = True

    def number(self, given: Given, grid: int) -> Tensor:
        """Minus the salience."""
        return -_mattering(given, grid)


@dataclass(frozen=True)
class NonSalientPatches(Patches):
    """The patches that matter least to the model are lost first; see `SalientPatches`."""

    name: ClassVar[str] = "non_salient_patches"
    title: ClassVar[str] = "Non-salient patches lost"
    salient: ClassVar[bool] = True

    def number(self, given: Given, grid: int) -> Tensor:
        """The salience."""
        return _mattering(given, grid)


@dataclass(frozen=True)
class Rows(Filled):
    """Lines of the sensor are lost."""

    name: ClassVar[str] = "rows"
    title: ClassVar[str] = "Rows lost"

    def __call__(self, given: Given) -> Loss:
        """Exactly the rate of all rows, to the nearest one; see `MissingInput`."""
        drawn = given.draw.uniform(self.name, 0, (given.image.shape[-2],))
        return Loss(ranked(drawn)[:, None, :, None], filled(self.fill, given, self.name))


@dataclass(frozen=True)
class Columns(Filled):
    """Columns of the sensor are lost."""

    name: ClassVar[str] = "columns"
    title: ClassVar[str] = "Columns lost"

    def __call__(self, given: Given) -> Loss:
        """Exactly the rate of all columns, to the nearest one; see `MissingInput`."""
        drawn = given.draw.uniform(self.name, 0, (given.image.shape[-1],))
        return Loss(ranked(drawn)[:, None, None, :], filled(self.fill, given, self.name))


@dataclass(frozen=True)
class Channels(Filled):
    """Colour channels are lost; of a grey image it is the whole."""

    name: ClassVar[str] = "channels"
    title: ClassVar[str] = "Channels lost"

    def __call__(self, given: Given) -> Loss:
        """Each channel with the probability of the rate; see `MissingInput`."""
        order = given.draw.uniform(self.name, 0, (given.image.shape[1], 1, 1))
        return Loss(order, filled(self.fill, given, self.name))


@dataclass(frozen=True)
class WholeImage(Filled):
    """The image does not come at all: what the model says of nothing."""

    name: ClassVar[str] = "whole_image"
    title: ClassVar[str] = "Image lost"

    def __call__(self, given: Given) -> Loss:
        """A share `rate` of the images; see `MissingInput`."""
        order = given.draw.uniform(self.name, 0, (1, 1, 1))
        return Loss(order, filled(self.fill, given, self.name))


def _mattering(given: Given, grid: int) -> Tensor:
    """Mean salience of each patch, `(N, 1, grid, grid)`."""
    assert given.salience is not None, "the probe asks the model"
    return F.adaptive_avg_pool2d(given.salience, grid)
