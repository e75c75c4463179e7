"""Blur of a camera that moves towards the scene."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class ZoomBlur:
    """The mean of growing zooms, as of a camera that moves towards the scene."""

    name: ClassVar[str] = "zoom_blur"
    title: ClassVar[str] = "Zoom blur"
    constants: ClassVar[Constants] = Constants(
        ((1.11, 0.01), (1.15, 0.01), (1.20, 0.02), (1.24, 0.02), (1.30, 0.03)),
        *2 * [((1.06, 0.01), (1.11, 0.01), (1.15, 0.01), (1.20, 0.01), (1.25, 0.01))],
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, largest: float, step: float) -> Tensor:
        """Averages the image with its zooms by 1, 1 + step, ... largest; see `Corruption`."""
        # Steps as the published ranges of floating-point numbers have them: a crop's rounding is
        # decided by the last bit.
        factors = [1 + i * (1 + step - 1) for i in range(round((largest - 1) / step) + 1)]
        total = image.clone()
        for factor in factors:
            total += centre_zoom(image, factor)
        return total / (len(factors) + 1)


def centre_zoom(image: Tensor, factor: float) -> Tensor:
    """Enlarges the centre of `(N, C, H, W)` bilinearly, with corners on corners.

    Args:
        image: any values.
        factor: >= 1.
    """
    first, last = ((_crop(size, factor)) for size in image.shape[-2:])
    part = image[..., first[0] : sum(first), last[0] : sum(last)]
    size = [round(length * factor) for _, length in (first, last)]
    large = F.interpolate(part, size=size, mode="bilinear", align_corners=True)
    top, left = ((got - wanted) // 2 for got, wanted in zip(size, image.shape[-2:], strict=True))
    return large[..., top : top + image.shape[-2], left : left + image.shape[-1]]


def _crop(size: int, factor: float) -> tuple[int, int]:
    """Start and length of the centre that fills the axis when it is enlarged."""
    length = math.ceil(size / factor)
    return (size - length) // 2, length
