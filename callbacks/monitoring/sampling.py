"""Which values of a layer are looked at: all images and channels, a few places of each."""

import torch
from torch import Tensor, nn

_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)


def channels_last(module: nn.Module | None, value: Tensor) -> bool:
    """Whether the last axis of an activation holds the channels, as in transformers.

    A layer that mixes the last axis says so by its type. A four-dimensional value of any other
    layer counts as `(N, H, W, C)` only where its middle axes are alike and its last ones are not.

    Args:
        module: that answered `value`; None if unknown.
        value: `(N, ...)`.
    """
    if value.ndim == 3 or isinstance(module, _CHANNELS_LAST):
        return True
    return value.ndim == 4 and value.shape[1] == value.shape[2] != value.shape[3]


def sampled(value: Tensor, images: int, last: bool, places: int) -> Tensor | None:
    """Takes a regular grid of places of every image and channel, in one copy.

    Args:
        value: `(N, C)`, `(N, C, H, W)`, `(N, T, C)` or `(N, H, W, C)`; where windows of an image
            are stacked in the first axis, they are taken for places.
        images: N.
        last: channels are in the last axis.
        places: at most about this many of each image.

    Returns:
        `(N, P, C)` copy, or None for what has no row for each image.
    """
    value = value.detach()
    if value.ndim < 2 or len(value) == 0 or len(value) % images or not value.is_floating_point():
        return None
    if value.ndim == 2:
        return value.reshape(images, -1, value.shape[1]).clone()
    axes = tuple(range(1, value.ndim - 1)) if last else tuple(range(2, value.ndim))
    each = len(value) // images
    side = max(1, round((places / each) ** (1 / len(axes))))
    index: list[slice] = [slice(None)] * value.ndim
    for axis in axes:
        step = max(1, -(-value.shape[axis] // side))
        index[axis] = slice(step // 2 if value.shape[axis] > step // 2 else 0, None, step)
    grid = value[tuple(index)]
    if not last:
        grid = grid.movedim(1, -1)
    return grid.reshape(images, -1, grid.shape[-1]).clone(memory_format=torch.contiguous_format)
