"""Noise of a sensor in the dark."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded
from callbacks.corruption.shot_noise import poisson
from callbacks.randomness import Draw


@dataclass(frozen=True)
class ISONoise:
    """Noise of a sensor at high sensitivity: that of counted photons and that of reading out.

    Variance x / photons + deviation² (Foi et al. 2008). Constants of 224 px: ImageNet-3DCC's (Kar
    et al. 2022, 2203.01441), 25 photons and 0.7 times the deviations of `gaussian_noise`. Those of
    other sizes follow the same rule, by us: photons of the second severity of `shot_noise`.
    """

    name: ClassVar[str] = "iso_noise"
    title: ClassVar[str] = "ISO noise"
    constants: ClassVar[Constants] = Constants(
        ((25, 0.056), (25, 0.084), (25, 0.126), (25, 0.182), (25, 0.266)),
        ((250, 0.028), (250, 0.042), (250, 0.056), (250, 0.063), (250, 0.07)),
        ((100, 0.028), (100, 0.056), (100, 0.084), (100, 0.105), (100, 0.126)),
        ((20, 0.063), (20, 0.091), (20, 0.133), (20, 0.189), (20, 0.28)),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, photons: float, deviation: float) -> Tensor:
        """Counts Poisson(photons · x) / photons and adds N(0, deviation²); see `Corruption`."""
        shape = tuple(image.shape[1:])
        chance = draw.uniform(f"{self.name} photons", 0, shape)
        counted = poisson((255 * image).round().long(), chance, photons) / photons
        return counted + deviation * draw.normal(f"{self.name} reading", 0, shape)
