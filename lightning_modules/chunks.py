"""Calls with one fixed batch shape, so that an answer does not depend on its neighbours."""

from collections.abc import Callable

import torch
from torch import Tensor


def padded(image: Tensor, size: int | None) -> Tensor:
    """Repeats the last of `(N, ...)` until there are `size` rows; None or enough rows: as it is."""
    if size is None or len(image) >= size:
        return image
    return torch.cat([image, image[-1:].expand(size - len(image), *image.shape[1:])])


def shared_evenly(count: int, most: int, waste: float = 0.02) -> int:
    """Returns the size of equal chunks that `count` images fill with little padding.

    Args:
        count: images, over all processes.
        most: images in a call at most; kept where the padding of the last call is within `waste`,
            so that most counts share one arithmetic, and rows.
        waste: share of images that padding may add.

    >>> shared_evenly(400, 128), shared_evenly(2048, 128), shared_evenly(3, 128)
    (100, 128, 3)
    """
    calls = max(-(-count // most), 1)
    if calls * most <= (1 + waste) * count:
        return most
    return max(-(-count // calls), 1)


def in_chunks(forward: Callable[[Tensor], Tensor], image: Tensor, size: int) -> Tensor:
    """Calls `forward` with exactly `size` images at a time and returns the `N` answers.

    Kernels round differently for different batch shapes; with one shape an image's answer is
    bit-identical for every loader batch size and order.

    Args:
        forward: from `(size, C, H, W)` to `(size, ...)`.
        image: `(N, C, H, W)`, N >= 1.
        size: images in a call; the last call is padded.
    """
    parts = [forward(padded(part, size))[: len(part)] for part in image.split(size)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
