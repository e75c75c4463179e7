"""Blur of a lens out of focus."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded
from callbacks.corruption.filters import correlated, separable
from callbacks.randomness import Draw

_SMALL = 8


@dataclass(frozen=True)
class DefocusBlur:
    """Blur by a disc, as of a lens out of focus."""

    name: ClassVar[str] = "defocus_blur"
    title: ClassVar[str] = "Defocus blur"
    constants: ClassVar[Constants] = Constants(
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((4, 0.1), (5, 0.5), (7, 0.5), (10, 0.5), (12, 0.5)),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, radius: float, sigma: float) -> Tensor:
        """Correlates with a smoothed disc; see `Corruption`."""
        return correlated(image, disc(radius, sigma, image), "mirror")


def disc(radius: float, sigma: float, like: Tensor) -> Tensor:
    """A disc of sum 1 as `(1, 2R + 1, 2R + 1)`, its edge smoothed by a Gaussian.

    Args:
        radius: in pixels; up to 8 it is drawn on 17 x 17 and smoothed over 3 x 3, else over 5 x 5.
        sigma: of the Gaussian.
        like: gives device and type.
    """
    reach = max(_SMALL, math.ceil(radius))
    side = torch.arange(-reach, reach + 1, device=like.device, dtype=like.dtype)
    filled = (side[:, None] ** 2 + side**2 <= radius**2).to(like)
    near = 1 if radius <= _SMALL else 2
    offset = torch.arange(-near, near + 1, device=like.device, dtype=torch.float64)
    weight = torch.exp(-0.5 * (offset / sigma) ** 2)
    return separable((filled / filled.sum())[None, None], weight / weight.sum(), "mirror")[0]
