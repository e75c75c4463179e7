"""Which values of a layer are looked at: all images and channels, a few places of each."""

import torch
from torch import Tensor, nn

_CHANNELS_FIRST = (
    nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm,
    nn.InstanceNorm2d, nn.GroupNorm, nn.LocalResponseNorm, nn.MaxPool2d, nn.AvgPool2d,
    nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout2d, nn.Upsample, nn.PixelShuffle,
)  # fmt: skip


def channels_last(module: nn.Module | None, value: Tensor) -> bool:
    """Whether the last axis of an activation holds the channels, as in transformers.

    A layer that knows an axis as the channels says so by its type, whatever the sizes. Only of the
    others, such as activation functions, the shape decides: three axes are `(N, T, C)`, four are
    `(N, H, W, C)` only where the middle ones are alike and the last ones are not. That takes an
    activation function's oblong map as high as it has channels for a square one.

    Args:
        module: that answered `value`; None for images and logits, which have them first.
        value: `(N, ...)`.
    """
    if module is None or isinstance(module, _CHANNELS_FIRST):
        return False
    if isinstance(module, nn.LayerNorm):  # not that of ConvNeXt, which turns the axes back
        return value.ndim == 3 or value.shape[-1] == module.normalized_shape[-1]
    if value.ndim == 3 or isinstance(module, nn.Linear):
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
