"""Coarse pixels."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Pixelate:
    """Coarse pixels: made small and large again with a box filter."""

    name: ClassVar[str] = "pixelate"
    title: ClassVar[str] = "Pixelate"
    constants: ClassVar[Constants] = Constants(
        levels(0.6, 0.5, 0.4, 0.3, 0.25),
        levels(0.95, 0.9, 0.85, 0.75, 0.65),
        levels(0.9, 0.8, 0.7, 0.6, 0.5),
        levels(0.5, 0.4, 0.3, 0.25, 0.2),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, factor: float) -> Tensor:
        """Resizes to `factor` of the sides and back; see `Corruption`."""
        height, width = image.shape[-2:]
        small = max(1, int(height * factor)), max(1, int(width * factor))
        return resized(resized((255 * image).round(), *small), height, width) / 255


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """Resizes `(N, C, H, W)` grey levels with a box filter, columns and then rows, as Pillow does.

    Args:
        image: whole numbers in [0, 255].
        height: wanted.
        width: wanted.
    """
    narrow = (image @ box_weights(image.shape[-1], width, image).T + 0.5).floor()
    return (box_weights(image.shape[-2], height, image) @ narrow + 0.5).floor()


def box_weights(size: int, wanted: int, like: Tensor) -> Tensor:
    """`(wanted, size)` weights: the mean of the pixels whose centres lie under the new pixel."""
    scale = size / wanted
    reach = max(scale, 1) / 2
    centre = (torch.arange(wanted, device=like.device, dtype=torch.float64)[:, None] + 0.5) * scale
    pixel = torch.arange(size, device=like.device)
    first, end = (centre - reach + 0.5).floor(), (centre + reach + 0.5).floor()
    # The bounds and the filter's own ends decide a tie each; the arithmetic is Pillow's.
    apart = (pixel - centre + 0.5) * (1 / max(scale, 1))
    covered = (pixel >= first) & (pixel < end) & (apart > -0.5) & (apart <= 0.5)
    return (covered.double() / covered.sum(1, keepdim=True)).to(like)
