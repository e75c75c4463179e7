"""Where a patch lies on each image, and the image with the patch on it."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial.coordinates import turned_back
from callbacks.randomness import Draw

ANGLE = 22.5
"""Largest rotation in degrees, as Brown et al. have it."""


class Placement(NamedTuple):
    """How a square patch lies on each image, `(N,)` each.

    Args:
        angle: degrees clockwise.
        side: pixels.
        right: of its centre from that of the image, in pixels.
        down: the same.
    """

    angle: Tensor
    side: Tensor
    right: Tensor
    down: Tensor

    @classmethod
    def drawn(
        cls, draw: Draw, number: int, side: float, least: float, shape: tuple[int, ...]
    ) -> "Placement":
        """A random rotation, scale and place, the whole patch inside the image where it fits.

        Args:
            draw: of the samples.
            number: tells one placement from the next.
            side: of the patch at its full size, in pixels.
            least: smallest scale, in (0, 1].
            shape: `(..., H, W)` of the images.
        """
        unit = draw.uniform("patch placement", number, (4,))
        angle = (2 * unit[:, 0] - 1) * ANGLE
        sides = side * (least + (1 - least) * unit[:, 1])
        turn = angle.double().deg2rad()
        reach = sides / 2 * (turn.cos() + turn.sin().abs()).to(sides.dtype)
        room = [(size / 2 - reach).clamp_min(0) for size in (shape[-1], shape[-2])]
        right, down = ((2 * unit[:, 2 + axis] - 1) * room[axis] for axis in (0, 1))
        return cls(angle, sides, right, down)


def side_of(share: float, shape: tuple[int, ...]) -> float:
    """The side in pixels of a square that covers a share of `(..., H, W)`.

    >>> side_of(0.25, (3, 32, 32))
    16.0
    """
    return math.sqrt(share * shape[-1] * shape[-2])


def pasted(image: Tensor, patch: Tensor, place: Placement) -> tuple[Tensor, Tensor]:
    """Puts one patch on every image.

    A pixel whose centre lies under the patch shows it, bilinear between the patch's own pixels; the
    others stay as they are.

    Args:
        image: `(N, C, H, W)`.
        patch: `(C, P, P)`; it may need a gradient.
        place: of each image.

    Returns:
        Images `(N, C, H, W)`, and the share of each that is covered `(N,)`.
    """
    x, y = turned_back(image, place.angle, place.right, place.down)
    half = (place.side / 2)[:, None, None]
    x, y = x / half, y / half
    covered = (x.abs() <= 1) & (y.abs() <= 1)
    grid = torch.stack([x, y], 3)
    drawn = F.grid_sample(
        patch.expand(len(image), *patch.shape), grid, "bilinear", "border", align_corners=False
    )
    return torch.where(covered[:, None], drawn, image), covered.flatten(1).float().mean(1)
