"""Wrong colours of the light."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.camera.light import either_way, encoded, linear
from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class WhiteBalance:
    """A wrong white balance: everything is too warm, or too cold.

    The sensor's red and blue are multiplied by a gain and its inverse, as a camera does that takes
    the lamp for another (von Kries's rule). Constants, the gain of red or its inverse as is drawn:
    our own. Grey images have no colour and stay as they are.
    """

    name: ClassVar[str] = "white_balance"
    title: ClassVar[str] = "White balance"
    constants: ClassVar[Constants] = of_any_size(levels(1.15, 1.3, 1.6, 2.0, 2.6))

    @graded
    def __call__(self, image: Tensor, draw: Draw, gain: float) -> Tensor:
        """Weights red and blue light; see `Corruption`."""
        if image.shape[1] == 1:
            return image
        red = gain ** either_way(draw, self.name)
        return encoded(linear(image) * torch.cat([red, torch.ones_like(red), 1 / red], 1))
