"""What lies beyond the border of an image, for filters that reach over it."""

from typing import Literal

import torch
from torch import Tensor

Border = Literal["nearest", "mirror", "symmetric"]
"""Of `a b c`: `a a|a b c|c c`; `c b|a b c|b a` (mirror); `b a|a b c|c b` (symmetric)."""


def inside(position: Tensor, size: int, border: Border) -> Tensor:
    """Maps whole positions, however far outside, to those in [0, size) that stand for them.

    Args:
        position: integers of any shape.
        size: of the axis, at least 1.
        border: what stands outside.
    """
    if border == "nearest" or size == 1:
        return position.clamp(0, size - 1)
    if border == "mirror":
        turned = position.remainder(2 * size - 2)
        return torch.minimum(turned, 2 * size - 2 - turned)
    turned = position.remainder(2 * size)
    return torch.minimum(turned, 2 * size - 1 - turned)


def extended(image: Tensor, by: int, border: Border) -> Tensor:
    """Images `(N, C, H, W)` with `by` more pixels on every side."""
    height, width = image.shape[-2:]
    rows = inside(torch.arange(-by, height + by, device=image.device), height, border)
    columns = inside(torch.arange(-by, width + by, device=image.device), width, border)
    return image.index_select(-2, rows).index_select(-1, columns)
