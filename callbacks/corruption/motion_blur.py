"""Blur of a moving camera."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded
from callbacks.corruption.filters import correlated
from callbacks.randomness import Draw


@dataclass(frozen=True)
class MotionBlur:
    """A trail in one direction, as of a moving camera."""

    name: ClassVar[str] = "motion_blur"
    title: ClassVar[str] = "Motion blur"
    constants: ClassVar[Constants] = Constants(
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((12, 4), (17, 6), (17, 9), (17, 13), (22, 16)),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, radius: float, sigma: float) -> Tensor:
        """Draws a trail at an angle uniform in [-45, 45] degrees; see `Corruption`."""
        angle = 90 * draw.uniform(self.name, 0, ()) - 45
        return motion_blurred(image, angle, radius, sigma)


def motion_blurred(image: Tensor, angle: Tensor, radius: float, sigma: float) -> Tensor:
    """Averages each pixel with those of a straight trail, weighted by one half of a Gaussian.

    ImageMagick's operator: 2 · radius + 1 points one pixel apart, each at the nearest pixel; the
    border's pixels go on beyond it.

    Args:
        image: `(N, C, H, W)`.
        angle: `(N,)` in degrees; 0 is a trail along the rows.
        radius: half the length of the trail in pixels.
        sigma: of the Gaussian in pixels.
    """
    # Beyond six deviations weights are below 1e-8 of the first.
    reach = min(2 * math.ceil(radius), math.ceil(6 * sigma))
    point = torch.arange(reach + 1, device=image.device, dtype=torch.float64)
    weight = torch.exp(-0.5 * (point / sigma) ** 2)
    turn = torch.deg2rad(angle.double())[:, None]
    column = torch.ceil(point * turn.cos() - 0.5).long() + reach
    row = torch.ceil(point * turn.sin() - 0.5).long() + reach
    side = 2 * reach + 1
    kernel = weight.new_zeros(len(image), side * side)
    kernel.scatter_add_(1, row * side + column, (weight / weight.sum()).expand(len(image), -1))
    return correlated(image, kernel.view(-1, side, side).to(image), "nearest")
