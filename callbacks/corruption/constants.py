"""The published constants of a corruption: a table for each image size, five severities each."""

import math
from dataclasses import dataclass

from datamodules.errors import UserError

Level = tuple[float, ...]
"""The constants of one severity."""
Levels = tuple[Level, Level, Level, Level, Level]
SIDES = (32, 64, 224, 299)
"""Image sides that have constants: CIFAR-C, Tiny ImageNet-C, ImageNet-C, its Inception crop."""


@dataclass(frozen=True)
class Constants:
    """Constants of five severities for images of 32, 64, 224 and 299 pixels.

    Args:
        px224: of ImageNet-C (Hendrycks & Dietterich 2019, 1903.12261).
        px32: of CIFAR-10-C.
        px64: of Tiny ImageNet-C; None where they are those of 224.
        px299: of the Inception crop; None where they are those of 224.
    """

    px224: Levels
    px32: Levels
    px64: Levels | None = None
    px299: Levels | None = None

    def at(self, severity: float, side: int) -> Level:
        """Constants of a severity in [1, 5], on straight lines between the published ones.

        Args:
            severity: any number between the five.
            side: one of `SIDES`.
        """
        levels = getattr(self, f"px{side}") or self.px224
        lower = min(int(severity), 4)
        part = severity - lower
        pairs = zip(levels[lower - 1], levels[lower], strict=True)
        return tuple((1 - part) * mild + part * severe for mild, severe in pairs)


def side_for(height: int, width: int) -> int:
    """The published size whose constants an image takes: the nearest in ratio to its short side.

    Args:
        height: of the image.
        width: of the image.
    """
    short = min(height, width)
    return min(SIDES, key=lambda side: abs(math.log(side / short)))


def checked_side(side: int) -> int:
    """Returns a size that has constants, or refuses it."""
    if side not in SIDES:
        raise UserError(
            f"Expected `constants_for` to be one of {', '.join(map(str, SIDES))} (pixels), but got "
            f"{side!r}: there are no published constants for that size."
        )
    return side


def levels(*constants: float) -> Levels:
    """Five severities of a corruption that has one constant."""
    first, second, third, fourth, fifth = constants
    return (first,), (second,), (third,), (fourth,), (fifth,)


def of_any_size(levels: Levels) -> Constants:
    """The same five severities for all sizes: constants without a length in pixels."""
    return Constants(levels, levels)
