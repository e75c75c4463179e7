"""Salt and pepper."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class ImpulseNoise:
    """Salt and pepper: single values that are 0 or 1, as bit errors make them."""

    name: ClassVar[str] = "impulse_noise"
    title: ClassVar[str] = "Impulse noise"
    constants: ClassVar[Constants] = Constants(
        levels(0.03, 0.06, 0.09, 0.17, 0.27),
        levels(0.01, 0.02, 0.03, 0.05, 0.07),
        levels(0.01, 0.02, 0.05, 0.08, 0.14),
        levels(0.04, 0.07, 0.10, 0.18, 0.28),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, share: float) -> Tensor:
        """Sets a share of all channel values, half of them to 0 and half to 1; see `Corruption`."""
        chance = draw.uniform(self.name, 0, tuple(image.shape[1:]))
        salted = torch.where(chance >= 1 - share / 2, 1.0, image)
        return torch.where(chance < share / 2, 0.0, salted)
