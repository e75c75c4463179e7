"""Noise in proportion to brightness."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class SpeckleNoise:
    """Normal noise in proportion to the value, as in coherent light."""

    name: ClassVar[str] = "speckle_noise"
    title: ClassVar[str] = "Speckle noise"
    constants: ClassVar[Constants] = Constants(
        levels(0.15, 0.2, 0.35, 0.45, 0.6),
        levels(0.06, 0.1, 0.12, 0.16, 0.2),
        levels(0.15, 0.2, 0.25, 0.3, 0.35),
        levels(0.16, 0.21, 0.36, 0.46, 0.61),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, deviation: float) -> Tensor:
        """Multiplies by 1 + N(0, deviation²); see `Corruption`."""
        return image + image * deviation * draw.normal(self.name, 0, tuple(image.shape[1:]))
