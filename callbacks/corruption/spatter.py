"""Drops of water or mud on the lens."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded, tint
from callbacks.corruption.edges import canny, distance
from callbacks.corruption.filters import gaussian_blurred, separable, stencil
from callbacks.randomness import Draw

_WATER = (175 / 255, 238 / 255, 238 / 255)
_MUD = (63 / 255, 42 / 255, 20 / 255)
_EMBOSS = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))
_FAR = 20
"""Pixels from the rim beyond which a drop is flat."""


@dataclass(frozen=True)
class Spatter:
    """Drops of water, then of mud, on the lens."""

    name: ClassVar[str] = "spatter"
    title: ClassVar[str] = "Spatter"
    # Mean and deviation of a field, its blur, the threshold, the strength, and 1 for mud.
    constants: ClassVar[Constants] = Constants(
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, 0),
            (0.65, 0.1, 0.8, 0.7, 0.5, 0),
            (0.65, 0.3, 1, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        (
            (0.62, 0.1, 0.7, 0.7, 0.6, 0),
            (0.65, 0.1, 0.8, 0.7, 0.6, 0),
            (0.65, 0.3, 1, 0.69, 0.6, 0),
            (0.65, 0.1, 0.7, 0.68, 0.6, 1),
            (0.65, 0.1, 0.5, 0.67, 0.6, 1),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.9, 0),
            (0.65, 0.3, 3.5, 0.68, 0.9, 0),
            (0.65, 0.3, 3, 0.68, 0.8, 0),
            (0.65, 0.3, 1.2, 0.65, 1.8, 1),
            (0.67, 0.4, 1.2, 0.65, 1.8, 1),
        ),
    )

    @graded
    def __call__(
        self,
        image: Tensor,
        draw: Draw,
        mean: float,
        deviation: float,
        blur: float,
        threshold: float,
        strength: float,
        mud: float,
    ) -> Tensor:
        """Adds bright drops, or covers with brown ones from severity 4 on; see `Corruption`."""
        field = mean + deviation * draw.normal(self.name, 0, (1, *image.shape[-2:]))
        liquid = gaussian_blurred(field, blur)
        liquid = torch.where(liquid < threshold, 0.0, liquid)
        if mud < 1:
            return image + strength * water(liquid) * tint(_WATER, image.shape[1], image)
        cover = gaussian_blurred((liquid > threshold).to(image), strength)
        cover = torch.where(cover < 0.8, 0.0, cover)
        return image * (1 - cover) + cover * tint(_MUD, image.shape[1], image)


def water(liquid: Tensor) -> Tensor:
    """How much light drops throw back: their rims are embossed.

    Args:
        liquid: `(N, 1, H, W)` depth, 0 where there is no drop.

    Returns:
        The same shape in [0, 1], 1 at the brightest; 0 everywhere where there are no drops.
    """
    grey = (255 * liquid).floor().clamp_max(255)
    box = liquid.new_full((3,), 1 / 3, dtype=torch.float64)
    rim = separable(distance(canny(grey, 50, 150), _FAR), box, "mirror").floor()
    embossed = stencil(equalised(rim), _EMBOSS, "mirror").clamp(0, 255)
    light = grey * separable(embossed, box, "mirror").round()
    return light / light.amax((2, 3), keepdim=True).clamp_min(1e-6)


def equalised(grey: Tensor) -> Tensor:
    """Spreads grey values so that all are equally frequent; a single one stays.

    Args:
        grey: `(N, 1, H, W)` whole numbers in [0, 255].
    """
    level = grey.flatten(1).long()
    count = torch.zeros(len(grey), 256, device=grey.device, dtype=torch.long)
    count.scatter_add_(1, level, torch.ones_like(level))
    lowest = level.amin(1, keepdim=True)
    below = count.gather(1, lowest)
    share = (count.cumsum(1) - below) / (level.shape[1] - below).clamp_min(1)
    spread = (255 * share).round().gather(1, level)
    return torch.where(below == level.shape[1], level, spread).to(grey).view_as(grey)
