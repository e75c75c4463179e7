"""Fog."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Fog:
    """Clouds of fog before the scene."""

    name: ClassVar[str] = "fog"
    title: ClassVar[str] = "Fog"
    constants: ClassVar[Constants] = Constants(
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.8), (2.5, 1.6), (3, 1.5)),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, weight: float, decay: float) -> Tensor:
        """Adds a plasma fractal and scales back to the image's range; see `Corruption`."""
        height, width = image.shape[-2:]
        clouds = plasma(draw, max(height, width), decay)[:, None, :height, :width]
        most = image.amax((1, 2, 3), keepdim=True)
        return (image + weight * clouds) * most / (most + weight)


def plasma(draw: Draw, side: int, decay: float) -> Tensor:
    """A fractal height map on a torus by the diamond-square algorithm (Fournier et al. 1982).

    The published code multiplies the amplitude in twice, so that the deviation falls with the
    square of the decay from octave to octave; so does this one.

    Args:
        draw: of the samples.
        side: in pixels; the map's is the next power of two.
        decay: of the amplitude from octave to octave.

    Returns:
        `(N, P, P)` in [0, 1], both of which occur.
    """
    size = max(2, 1 << (side - 1).bit_length())
    height = torch.zeros(len(draw), size, size, device=draw.index.device)
    step, amplitude = size, 100.0
    while step > 1:
        half = step // 2
        middle = partial(_middle, draw, step, amplitude**2)
        corner = height[:, ::step, ::step]
        rows = corner + corner.roll(-1, 1)
        centre = middle(rows + rows.roll(-1, 2), "centre")
        height[:, half::step, half::step] = centre
        top = centre + centre.roll(1, 1) + corner + corner.roll(-1, 2)
        left = centre + centre.roll(1, 2) + corner + corner.roll(-1, 1)
        height[:, ::step, half::step] = middle(top, "top")
        height[:, half::step, ::step] = middle(left, "left")
        step, amplitude = half, amplitude / decay
    height -= height.amin((1, 2), keepdim=True)
    return height / height.amax((1, 2), keepdim=True)


def _middle(draw: Draw, step: int, amplitude: float, corners: Tensor, place: str) -> Tensor:
    """The mean of four points, given as their sum, and a random height."""
    chance = draw.uniform(f"fog {place}", step, tuple(corners.shape[1:]))
    return corners / 4 + amplitude * (2 * chance - 1)
