"""Less or more colour."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Saturate:
    """Less colour, then more: the HSV saturation is scaled and shifted."""

    name: ClassVar[str] = "saturate"
    title: ClassVar[str] = "Saturation"
    constants: ClassVar[Constants] = Constants(
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, factor: float, offset: float) -> Tensor:
        """Scales and shifts the saturation; grey images have none and stay; see `Corruption`."""
        if image.shape[1] == 1:
            return image
        value = image.amax(1, keepdim=True)
        below = value - image
        saturation = below.amax(1, keepdim=True) / value.clamp_min(1e-6)
        wanted = (saturation * factor + offset).clamp(0, 1)
        scaled = value - below * (wanted / saturation.clamp_min(1e-6))
        # A grey pixel has hue 0 by definition, so that an offset turns it red.
        red = torch.cat([value, *2 * [value * (1 - wanted)]], 1)
        return torch.where(saturation > 0, scaled, red)
