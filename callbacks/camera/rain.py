"""Rain."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.corruption.motion_blur import motion_blurred
from callbacks.randomness import Draw

_LIGHT = 0.8
"""Of a drop: it shows a wide part of the sky (Garg & Nayar 2007)."""
_WIND = 15.0
"""Degrees from upright up to which rain falls."""


@dataclass(frozen=True)
class Rain:
    """Streaks of falling drops before the scene.

    Constants, the share of pixels that streaks would cover side by side, their length in parts of
    the short side, and their opacity: our own.
    """

    name: ClassVar[str] = "rain"
    title: ClassVar[str] = "Rain"
    constants: ClassVar[Constants] = of_any_size(
        ((0.05, 0.1, 0.4), (0.1, 0.12, 0.5), (0.16, 0.14, 0.6), (0.24, 0.17, 0.7), (0.34, 0.2, 0.8))
    )

    @graded
    def __call__(
        self, image: Tensor, draw: Draw, cover: float, length: float, opacity: float
    ) -> Tensor:
        """Lays grey streaks over the image; see `Corruption`."""
        height, width = image.shape[-2:]
        pixels = max(length * min(height, width), 1.0)
        # drops outside of the image, below and beside it, have trails inside
        below = 2 * math.ceil(pixels / 2)
        beside = math.ceil(below * math.sin(math.radians(_WIND)))
        size = (1, height + below, width + 2 * beside)
        drop = draw.uniform(f"{self.name} drops", 0, size) < cover / pixels
        angle = 90 + _WIND * (2 * draw.uniform(f"{self.name} wind", 0, ()) - 1)
        trail = streaks(drop.to(image), angle, pixels)[..., :height, beside : beside + width]
        return torch.lerp(image, image.new_full((), _LIGHT), opacity * trail)


def streaks(drop: Tensor, angle: Tensor, length: float) -> Tensor:
    """Draws a fading trail from every drop, 1 where it begins.

    Args:
        drop: `(N, 1, H, W)`, 1 where there is a drop, else 0.
        angle: `(N,)` of the trails in degrees; 90 is along the columns.
        length: in pixels.
    """
    points = range(2 * math.ceil(length / 2) + 1)
    # `motion_blurred` gives every drop a trail of sum 1
    total = sum(math.exp(-0.5 * (point / length) ** 2) for point in points)
    return (total * motion_blurred(drop, angle, length / 2, length)).clamp(0, 1)
