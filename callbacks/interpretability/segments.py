"""Patches: groups of neighbouring pixels, all channels together, that are switched as one."""

import torch
from torch import Tensor

from datamodules.errors import UserError


def grid_segments(image: Tensor, grid: int) -> Tensor:
    """Cuts images into `grid` x `grid` patches as equal as the size allows.

    Args:
        image: `(..., H, W)`; only its size and device matter.
        grid: patches along each side.

    Returns:
        `(H, W)` int64, the patch of each pixel, row by row from 0 to grid² - 1.

    Raises:
        UserError: there are more patches than pixels along a side.
    """
    height, width = image.shape[-2:]
    if not 1 <= grid <= min(height, width):
        raise UserError(
            f"Expected `grid` between 1 and the images' smaller side {min(height, width)}, but got "
            f"{grid}: choose fewer patches."
        )
    row, column = (
        torch.arange(side, device=image.device) * grid // side for side in (height, width)
    )
    return row[:, None] * grid + column[None, :]


def sum_by_segment(values: Tensor, segment: Tensor) -> Tensor:
    """Sums a map `(N, 1, H, W)` over each of S patches `(H, W)`: `(N, S)`."""
    flat = values.flatten(1)
    total = flat.new_zeros(len(flat), int(segment.max()) + 1)
    return total.index_add_(1, segment.flatten(), flat)


def spread(values: Tensor, segment: Tensor) -> Tensor:
    """Spreads `(N, S)` evenly over the pixels of each patch, so that sums are kept.

    Captum gives every pixel the whole value of its patch: larger by the patch's area.
    """
    area = torch.bincount(segment.flatten(), minlength=values.shape[1])
    return (values / area)[:, segment][:, None]


def switched(on: Tensor, segment: Tensor) -> Tensor:
    """From patches that are on, `(N, S)` bool, to their pixels `(N, 1, H, W)` bool."""
    return on[:, segment][:, None]
