"""Rows that were seen one after another."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.camera.light import either_way
from callbacks.corruption.constants import Constants, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw
from callbacks.warp import centred, looked_up

_SLOWEST, _FASTEST = 1.0, 4.0
"""Swings of the camera while the image is read out."""


@dataclass(frozen=True)
class RollingShutter:
    """A moving camera whose rows are read out one after another.

    Every row is moved across: the camera pans at one speed, so that the image leans, and shakes, so
    that it wobbles. Constants, how far the pan moves the last row against the first and how far the
    shaking moves rows, in parts of the width: our own. Pixels at the border go on beyond it.
    """

    name: ClassVar[str] = "rolling_shutter"
    title: ClassVar[str] = "Rolling shutter"
    constants: ClassVar[Constants] = of_any_size(
        ((0.06, 0.005), (0.12, 0.01), (0.2, 0.015), (0.3, 0.02), (0.4, 0.03))
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, pan: float, shake: float) -> Tensor:
        """Moves the rows; see `Corruption`."""
        height, width = image.shape[-2:]
        across, down = centred(image)
        time = down / height
        swings, phase = draw.uniform(self.name, 0, (2, 1, 1)).unbind(1)
        swings = _SLOWEST + (_FASTEST - _SLOWEST) * swings
        wobble = (2 * math.pi * (swings * time + phase)).sin()
        moved = pan * either_way(draw, self.name)[:, 0] * time + shake * wobble
        return looked_up(image, across + width * moved, down, "nearest")
