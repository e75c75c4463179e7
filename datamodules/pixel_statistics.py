"""Mean and standard deviation of the pixels of a data set."""

from collections.abc import Iterable

import torch
from torch import Tensor

from datamodules.preprocessing import in_unit_range

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of every channel, of pixels in [0, 1]."""


def mean_std_of(images: Iterable[Tensor]) -> MeanStd:
    """Pools the pixels of all images, so that images of any size weigh by their area.

    Args:
        images: `(..., C, H, W)` each, uint8 or in [0, 1].

    Returns:
        Mean and standard deviation of the population (divided by the number of pixels).
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for image in images:
        pixels = in_unit_range(image).double().transpose(0, -3).flatten(1)
        count += pixels.shape[1]
        total = total + pixels.sum(1)
        squares = squares + pixels.square().sum(1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())
