"""Normal noise."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class GaussianNoise:
    """Normal noise on every value, as in low light."""

    name: ClassVar[str] = "gaussian_noise"
    title: ClassVar[str] = "Gaussian noise"
    constants: ClassVar[Constants] = Constants(
        levels(0.08, 0.12, 0.18, 0.26, 0.38),
        levels(0.04, 0.06, 0.08, 0.09, 0.10),
        levels(0.04, 0.08, 0.12, 0.15, 0.18),
        levels(0.09, 0.13, 0.19, 0.27, 0.40),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, deviation: float) -> Tensor:
        """Adds N(0, deviation²); see `Corruption`."""
        return image + deviation * draw.normal(self.name, 0, tuple(image.shape[1:]))
