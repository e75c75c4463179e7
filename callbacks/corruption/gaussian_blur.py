"""Gaussian blur."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.corruption.filters import gaussian_blurred
from callbacks.randomness import Draw


@dataclass(frozen=True)
class GaussianBlur:
    """Blur by a Gaussian."""

    name: ClassVar[str] = "gaussian_blur"
    title: ClassVar[str] = "Gaussian blur"
    constants: ClassVar[Constants] = Constants(
        levels(1, 2, 3, 4, 6),
        levels(0.4, 0.6, 0.7, 0.8, 1),
        levels(0.5, 0.75, 1, 1.25, 1.5),
        levels(1.5, 2.5, 3.5, 4.5, 6.5),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, sigma: float) -> Tensor:
        """Convolves with a Gaussian of `sigma` pixels; see `Corruption`."""
        return gaussian_blurred(image, sigma)
