"""What every corruption is: images, a severity and the samples' random numbers in, images out."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, checked_side, side_for
from callbacks.randomness import Draw
from datamodules.errors import UserError

LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""
# Of a grey level: whole levels k/255 in float32 come back as k - 3e-5 and must not fall to k - 1.
_ROUNDING = 1e-3


@runtime_checkable
class Corruption(Protocol):
    """Disturbs images as cameras, weather and storage do.

    Equal samples get equal random numbers at every severity, so that a curve over severity is one
    of growing severity alone.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    constants: ClassVar[Constants]
    """Of the five severities, by image size."""

    def __call__(
        self, image: Tensor, severity: float, draw: Draw, constants_for: int | None = None
    ) -> Tensor:
        """Returns `(N, C, H, W)` images in whole grey levels k/255.

        Args:
            image: `(N, C, H, W)` float32 in [0, 1], grey (C = 1) or RGB, of any size.
            severity: 0 returns the images as they are; else in [1, 5], between whole numbers too.
            draw: of the N samples.
            constants_for: image side in pixels whose published constants are taken, of `SIDES`;
                None takes the nearest to the images' short side.

        Raises:
            UserError: a severity or a side outside of that, or images with alpha.
        """
        ...


def graded(operator: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes a `Corruption.__call__` of an operator `(self, image, draw, *constants) -> image`.

    Checks what comes, looks up the constants, and casts the result to 8 bits by truncation, as the
    published sets were made.
    """

    @wraps(operator)
    def call(
        self: Any, image: Tensor, severity: float, draw: Draw, constants_for: int | None = None
    ) -> Tensor:
        _check(image, severity)
        height, width = image.shape[-2:]
        side = checked_side(constants_for or side_for(height, width))
        if severity == 0 or not image.numel():
            return image
        return eight_bit(operator(self, image, draw, *self.constants.at(severity, side)))

    return call


def eight_bit(image: Tensor) -> Tensor:
    """Cuts to [0, 1] and down to whole grey levels k/255."""
    return (image.clamp(0, 1) * 255 + _ROUNDING).floor() / 255


def luminance(image: Tensor) -> Tensor:
    """Grey values `(N, 1, H, W)` of grey or RGB images."""
    if image.shape[1] == 1:
        return image
    red, green, blue = LUMINANCE
    return red * image[:, :1] + green * image[:, 1:2] + blue * image[:, 2:]


def tint(colour: tuple[float, float, float], channels: int, like: Tensor) -> Tensor:
    """A colour in [0, 1] as `(1, C, 1, 1)`; its grey value for grey images."""
    grey = sum(weight * part for weight, part in zip(LUMINANCE, colour, strict=True))
    parts = constant(colour if channels == 3 else (grey,), like)
    return parts[None, :, None, None]


def constant(values: tuple, like: Tensor) -> Tensor:
    """A tensor of known numbers; it is copied to a device once, not for every batch.

    Args:
        values: numbers, or tuples of numbers.
        like: gives device and type.
    """
    return _constant(values, like.device, like.dtype)


@lru_cache(maxsize=256)
def _constant(values: tuple, device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, device=device, dtype=dtype)


def _check(image: Tensor, severity: float) -> None:
    if image.ndim != 4 or image.shape[1] not in (1, 3) or not image.is_floating_point():
        raise UserError(
            f"Expected `image` to be float (N, 1 or 3, H, W) in [0, 1], but got {image.dtype} "
            f"{tuple(image.shape)}: leave out alpha, and divide 8-bit values by 255."
        )
    if severity != 0 and not 1 <= severity <= 5:
        raise UserError(
            f"Expected `severity` to be 0 or between 1 and 5, but got {severity:g}: there are no "
            "published constants outside."
        )
