"""Haze that thickens with distance."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw
from callbacks.warp import centred

_DULL, _BRIGHT = 0.7, 1.0
"""Light of the air (RESIDE)."""


@dataclass(frozen=True)
class Haze:
    """Haze before the scene: J t + A (1 - t) with t = exp(-β depth) (Koschmieder 1924).

    Nothing is known of the depth, so it is assumed to grow from 0.5 at the lower border to 1.5 at
    the upper one, as of ground that is looked along. Constants β, and A drawn from 0.7 to 1: those
    of RESIDE (Li et al. 2019, 1712.04143).
    """

    name: ClassVar[str] = "haze"
    title: ClassVar[str] = "Haze"
    constants: ClassVar[Constants] = of_any_size(levels(0.6, 0.9, 1.2, 1.5, 1.8))

    @graded
    def __call__(self, image: Tensor, draw: Draw, beta: float) -> Tensor:
        """Mixes the light of the air in; see `Corruption`."""
        depth = 1 - centred(image)[1].to(image) / image.shape[-2]
        air = _DULL + (_BRIGHT - _DULL) * draw.uniform(self.name, 0, (1, 1, 1))
        return torch.lerp(air, image, (-beta * depth).exp())
