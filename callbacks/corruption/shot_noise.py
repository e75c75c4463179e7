"""Noise of counted photons."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw

_GREYS = 256


@dataclass(frozen=True)
class ShotNoise:
    """Poisson noise: light is counted in photons."""

    name: ClassVar[str] = "shot_noise"
    title: ClassVar[str] = "Shot noise"
    constants: ClassVar[Constants] = Constants(
        levels(60, 25, 12, 5, 3),
        levels(500, 250, 100, 75, 50),
        levels(250, 100, 50, 30, 15),
        levels(50, 20, 10, 5, 3),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, photons: float) -> Tensor:
        """Counts Poisson(photons · x) / photons of the 8-bit image; see `Corruption`."""
        chance = draw.uniform(self.name, 0, tuple(image.shape[1:]))
        return poisson((255 * image).round().long(), chance, photons) / photons


def poisson(grey: Tensor, chance: Tensor, photons: float) -> Tensor:
    """Poisson numbers with mean `photons · grey / 255`, by the inverse of their distribution.

    Args:
        grey: integers in [0, 255].
        chance: uniform numbers in [0, 1) of the same shape.
        photons: mean count of white, > 0.
    """
    # The distributions of all 256 grey values lie behind each other in one ascending table: that of
    # grey g on [g, g + 1]. Ten deviations hold all that 24-bit chances can reach.
    most = math.ceil(photons + 10 * math.sqrt(photons) + 10)
    count = torch.arange(most, device=grey.device, dtype=torch.float64)
    greys = torch.arange(_GREYS, device=grey.device, dtype=torch.float64)[:, None]
    mean = greys * photons / 255
    mass = torch.exp(torch.xlogy(count, mean) - mean - torch.lgamma(count + 1))
    table = greys + mass.cumsum(1).clamp_max(1)
    place = torch.searchsorted(table.flatten(), grey + chance.double(), right=True)
    return (place - grey * most).clamp_max(most - 1).to(chance)
