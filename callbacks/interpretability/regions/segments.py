"""Patches: groups of neighbouring pixels, all channels together, that are switched as one."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from callbacks.interpretability.regions.superpixels import superpixels
from datamodules.errors import UserError, suggestion

SegmentsName = Literal["grid", "superpixels"]


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
            f"{grid} x {grid} patches of images of {height} x {width}: choose a smaller `grid`, or "
            "methods without patches."
        )
    row, column = (
        torch.arange(side, device=image.device) * grid // side for side in (height, width)
    )
    return row[:, None] * grid + column[None, :]


SEGMENTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "grid": lambda image, grid: grid_segments(image, grid).expand(len(image), -1, -1),
    "superpixels": lambda image, grid: superpixels(image, grid**2),
}


def segmented(name: str, image: Tensor, grid: int, chunk: int = 128) -> Tensor:
    """Cuts each image into grid² patches, squares or superpixels.

    Args:
        name: "grid", the same squares for all, or "superpixels", which follow an image's edges.
        image: `(N, C, H, W)` in [0, 1].
        grid: square root of the number of patches.
        chunk: images segmented at a time, for the sake of memory.

    Returns:
        `(N, H, W)` int64 from 0 to grid² - 1; superpixels may be empty.

    Raises:
        UserError: there is no such kind, or there are more patches than pixels.
    """
    if name not in SEGMENTS:
        raise UserError(f"There are no segments {name!r}.{suggestion(name, SEGMENTS)}")
    return torch.cat([SEGMENTS[name](part, grid) for part in image.split(chunk)])


def sum_by_segment(values: Tensor, segment: Tensor, count: int | None = None) -> Tensor:
    """Sums a map over each of S patches.

    Args:
        values: `(N, 1, H, W)`.
        segment: `(H, W)` for all images, or `(N, H, W)`.
        count: S; None takes the largest label, which may fall short if patches are empty.

    Returns:
        `(N, S)`; 0 of an empty patch.
    """
    flat = values.flatten(1)
    total = flat.new_zeros(len(flat), int(segment.max()) + 1 if count is None else count)
    return total.scatter_add_(1, _flat(segment, len(flat)), flat)


def areas(segment: Tensor, count: int) -> Tensor:
    """Pixels of each of S patches, `(N, S)` int64 out of `(N, H, W)`; of `(H, W)`, `(1, S)`."""
    flat = segment.reshape(-1, segment.shape[-2] * segment.shape[-1])
    total = flat.new_zeros(len(flat), count)
    return total.scatter_add_(1, flat, torch.ones_like(flat))


def spread(values: Tensor, segment: Tensor) -> Tensor:
    """Spreads `(N, S)` evenly over the pixels of each patch, so that sums are kept.

    Captum gives every pixel the whole value of its patch: larger by the patch's area. What an
    empty patch is worth is lost; the explainers here give it 0.

    Args:
        values: `(N, S)`.
        segment: `(H, W)` for all images, or `(N, H, W)`.

    Returns:
        `(N, 1, H, W)`.
    """
    share = values / areas(segment, values.shape[1]).clamp(min=1)
    even = share.gather(1, _flat(segment, len(values)))
    return even.reshape(len(values), 1, *segment.shape[-2:])


def switched(on: Tensor, segment: Tensor) -> Tensor:
    """From patches that are on, `(N, S)` bool, to their pixels `(N, 1, H, W)` bool.

    Args:
        on: `(N, S)`.
        segment: `(H, W)` for all images, or `(N, H, W)`.
    """
    pixels = on.gather(1, _flat(segment, len(on)))
    return pixels.reshape(len(on), 1, *segment.shape[-2:])


def _flat(segment: Tensor, n: int) -> Tensor:
    """The labels of each of n images, `(n, H·W)`, without a copy where they share them."""
    return segment.expand(n, *segment.shape[-2:]).flatten(1)
