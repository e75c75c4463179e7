"""Bright and dark bands of a flickering lamp."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.camera.light import encoded, linear
from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw
from callbacks.warp import centred

_FEWEST, _MOST = 2.0, 8.0
"""Bands an image: a rolling shutter's 5 to 20 ms under the 100 or 120 flashes of mains power each
second are 0.5 to 2.4, LEDs that are dimmed flash up to some times as often."""


@dataclass(frozen=True)
class Banding:
    """Bands of a lamp that flickers while the sensor is read out row by row.

    The light is multiplied by 1 + depth · sin(row); two to eight bands, drawn with their phase.
    Constants, the depth: our own.
    """

    name: ClassVar[str] = "banding"
    title: ClassVar[str] = "Banding"
    constants: ClassVar[Constants] = of_any_size(levels(0.15, 0.3, 0.45, 0.6, 0.8))

    @graded
    def __call__(self, image: Tensor, draw: Draw, depth: float) -> Tensor:
        """Modulates the light of the rows; see `Corruption`."""
        bands, phase = draw.uniform(self.name, 0, (2, 1, 1, 1)).unbind(1)
        bands = _FEWEST + (_MOST - _FEWEST) * bands
        down = centred(image)[1].to(image) / image.shape[-2]
        wave = (2 * math.pi * (bands * down + phase)).sin()
        return encoded(linear(image) * (1 + depth * wave))
