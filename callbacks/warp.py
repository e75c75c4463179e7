"""Looks pixels up elsewhere in the image: what a camera does that moves, turns or tilts."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Beyond = Literal["symmetric", "black", "nearest"]
"""What lies outside of the image: its own mirror image, nothing, or the border's pixel."""
_PADDING = {"symmetric": "reflection", "black": "zeros", "nearest": "border"}


def warped(image: Tensor, matrix: Tensor, beyond: Beyond = "symmetric") -> Tensor:
    """Looks every pixel up through a homography, bilinear.

    Args:
        image: `(N, C, H, W)` in [0, 1].
        matrix: `(3, 3)` or `(N, 3, 3)` from homogeneous places of the result to places in the
            image, in pixels from the centre, x before y.
        beyond: what lies outside.
    """
    across, down = centred(image)
    x, y, scale = (
        row[:, 0] * across + row[:, 1] * down + row[:, 2]
        for row in matrix.to(across).reshape(-1, 3, 3, 1, 1).unbind(1)
    )
    return looked_up(image, x / scale, y / scale, beyond)


def looked_up(image: Tensor, x: Tensor, y: Tensor, beyond: Beyond = "symmetric") -> Tensor:
    """Takes every pixel from a place of its own, bilinear.

    Args:
        image: `(N, C, H, W)` in [0, 1].
        x: places across in pixels from the centre, of a shape that expands to `(N, H, W)`.
        y: places down, likewise.
        beyond: what lies outside.
    """
    n, _, height, width = image.shape
    parts = (2 * x / width, 2 * y / height)  # in units of half the image, edges at 1
    grid = torch.stack([part.to(image).expand(n, height, width) for part in parts], -1)
    found = F.grid_sample(image, grid, padding_mode=_PADDING[beyond], align_corners=False)
    return found.clamp(0, 1)


def centred(image: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the pixels from the centre, across `(W,)` and down `(H, 1)`, float64."""
    height, width = image.shape[-2:]
    across, down = (
        torch.arange(size, device=image.device, dtype=torch.float64) - (size - 1) / 2
        for size in (width, height)
    )
    return across, down[:, None]
