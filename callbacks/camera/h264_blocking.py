"""Blocks of a video codec."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.borders import inside
from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import constant, graded
from callbacks.randomness import Draw

_SIDE = 4
_DEAD_ZONE = 1 / 3
"""Added before rounding down, less than a half: small coefficients become 0 (the reference encoder
of H.264 takes a third for images of their own)."""
_COSINE = tuple(
    tuple(
        math.sqrt((1 if k == 0 else 2) / _SIDE) * math.cos(math.pi * (2 * i + 1) * k / (2 * _SIDE))
        for i in range(_SIDE)
    )
    for k in range(_SIDE)
)
"""The orthogonal cosine transform, which the codec's integer one approximates."""
_COLOURS = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
"""Brightness, blueness and redness of red, green and blue (BT.601)."""
_BACK = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


@dataclass(frozen=True)
class H264Blocking:
    """Blocks as of a video of low bit rate.

    Cosine transforms of 4 x 4 blocks of brightness and colour are quantised with H.264's step,
    0.625 · 2^(QP / 6), and its dead zone (ITU-T H.264, 2003). It is the codec's loss in one frame,
    without prediction and without the filter that would smooth the blocks. Constants, the
    quantisation parameter QP: our own.
    """

    name: ClassVar[str] = "h264_blocking"
    title: ClassVar[str] = "H.264 blocking"
    constants: ClassVar[Constants] = of_any_size(levels(30, 34, 38, 42, 46))

    @graded
    def __call__(self, image: Tensor, draw: Draw, parameter: float) -> Tensor:
        """Quantises the blocks; see `Corruption`."""
        step = 0.625 * 2 ** (parameter / 6)
        if image.shape[1] == 1:
            return quantised(255 * image - 128, step) / 255 + 128 / 255
        # brightness around 0, as colour is: a grey of 128 has no coefficient
        parts = _mixed(255 * image - 128, _COLOURS)
        return (_mixed(quantised(parts, step), _BACK) + 128) / 255


def quantised(plane: Tensor, step: float) -> Tensor:
    """Quantises the cosine transform of the 4 x 4 blocks of `(N, C, H, W)`.

    Args:
        plane: any values; the last row and column are repeated up to whole blocks.
        step: between values that a coefficient may have.
    """
    height, width = plane.shape[-2:]
    rows, columns = (
        inside(torch.arange(-(-n // _SIDE) * _SIDE, device=plane.device), n, "nearest")
        for n in (height, width)
    )
    padded = plane.index_select(2, rows).index_select(3, columns)
    blocks = padded.unfold(2, _SIDE, _SIDE).unfold(3, _SIDE, _SIDE)
    cosine = constant(_COSINE, plane)
    coefficient = cosine @ blocks @ cosine.T
    coefficient = (coefficient.abs() / step + _DEAD_ZONE).floor() * step * coefficient.sign()
    restored = cosine.T @ coefficient @ cosine
    return restored.transpose(3, 4).reshape(padded.shape)[..., :height, :width]


def _mixed(image: Tensor, weights: tuple[tuple[float, ...], ...]) -> Tensor:
    """Other channels, each a weighted sum of the three."""
    return torch.einsum("kc,nchw->nkhw", constant(weights, image), image)
