"""More light."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Brightness:
    """More light: a constant is added to the HSV value."""

    name: ClassVar[str] = "brightness"
    title: ClassVar[str] = "Brightness"
    constants: ClassVar[Constants] = Constants(
        levels(0.1, 0.2, 0.3, 0.4, 0.5), levels(0.05, 0.1, 0.15, 0.2, 0.3)
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, added: float) -> Tensor:
        """Adds to the largest channel and scales the others with it; see `Corruption`."""
        value = image.amax(1, keepdim=True)
        brighter = (value + added).clamp_max(1)
        # Black has no colour to scale and turns grey.
        return torch.where(value > 0, image * (brighter / value.clamp_min(1e-6)), brighter)
