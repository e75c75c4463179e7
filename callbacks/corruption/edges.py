"""Edges of an image, and how far every pixel is from the nearest."""

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.corruption.filters import stencil

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_TURNED = tuple(zip(*_SOBEL, strict=True))
_TANGENT = 0.41421356  # of 22.5 degrees
_LINKS = 8
"""Pixels over which a weak edge is followed from a strong one."""


def canny(grey: Tensor, low: float, high: float) -> Tensor:
    """Edges by Canny's method (1986), with Sobel's gradient and its L1 norm.

    Args:
        grey: `(N, 1, H, W)` in [0, 255].
        low: gradients above it are edges where they touch an edge.
        high: gradients above it are edges.

    Returns:
        `(N, 1, H, W)` bool.
    """
    across, down = (stencil(grey, weights, "nearest") for weights in (_SOBEL, _TURNED))
    size = across.abs() + down.abs()
    weak = _ridge(size, across, down) & (size > low)
    edge = weak & (size > high)
    for _ in range(_LINKS):
        edge = F.max_pool2d(edge.to(grey), 3, 1, 1).bool() & weak
    return edge


def _ridge(size: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Where a gradient is larger than its neighbours' along its direction."""
    height, width = size.shape[-2:]
    around = F.pad(size, (1, 1, 1, 1))

    def at(row: int, column: int) -> Tensor:
        return around[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]

    flat = down.abs() < _TANGENT * across.abs()
    steep = down.abs() > (_TANGENT + 2) * across.abs()
    falling = (across < 0) ^ (down < 0)
    rising = (size > at(-1, -1)) & (size > at(1, 1))
    diagonal = torch.where(falling, (size > at(-1, 1)) & (size > at(1, -1)), rising)
    along = torch.where(steep, (size > at(-1, 0)) & (size >= at(1, 0)), diagonal)
    return torch.where(flat, (size > at(0, -1)) & (size >= at(0, 1)), along)


def distance(edge: Tensor, most: int) -> Tensor:
    """Euclidean distance to the nearest edge in pixels, cut at `most`.

    Args:
        edge: `(N, 1, H, W)` bool.
        most: whole number of pixels.
    """
    width = edge.shape[-1]
    column = torch.arange(width, device=edge.device).expand_as(edge)
    before = torch.where(edge, column, -width - most).cummax(-1)[0]
    behind = torch.where(edge, column, 2 * width + most).flip(-1).cummin(-1)[0].flip(-1)
    in_row = torch.minimum(column - before, behind - column).clamp_max(most).float() ** 2
    far = F.pad(in_row, (0, 0, most, most), value=float(most**2))
    squared = in_row
    for step in range(2 * most + 1):
        squared = torch.minimum(
            squared, far[..., step : step + edge.shape[-2], :] + float((step - most) ** 2)
        )
    return squared.sqrt().clamp_max(most)
