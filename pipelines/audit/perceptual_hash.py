"""A hash of what an image looks like, that survives re-encoding, resizing and small changes."""

import math

import torch
from torch import Tensor

SIDE = 32
"""Pixels of the grey thumbnails that are hashed."""
_LOW = 8
TURNS = (
    "upright", "mirrored", "upside down", "turned by 180°", "transposed", "turned by 90°",
    "turned by 270°", "transposed across",
)  # fmt: skip
"""The eight symmetries of a square, in the order of `turned`."""


def spectrum(thumbnail: Tensor) -> Tensor:
    """Lowest 8x8 coefficients of the discrete cosine transform, type II.

    Args:
        thumbnail: `(N, 32, 32)` grey.

    Returns:
        `(N, 8, 8)`, vertical frequency first.
    """
    place = torch.arange(SIDE, device=thumbnail.device, dtype=thumbnail.dtype) + 0.5
    wave = torch.arange(_LOW, device=thumbnail.device, dtype=thumbnail.dtype)
    basis = torch.cos(math.pi / SIDE * wave[:, None] * place)
    return basis @ thumbnail @ basis.T


def turned(low: Tensor) -> list[Tensor]:
    """The spectra of the same images in all eight positions; no image is touched.

    A mirrored image has its odd waves negated, a transposed one its axes exchanged.

    Args:
        low: `(N, 8, 8)` from `spectrum`.
    """
    sign = (-1.0) ** torch.arange(_LOW, device=low.device, dtype=low.dtype)
    both = [low, low.transpose(1, 2)]
    return [part * row * col for part in both for row, col in _signs(sign)]


def hashed(low: Tensor) -> Tensor:
    """The 63 bits of pHash (Zauner 2010): whether a coefficient is above the median of them.

    Args:
        low: `(N, 8, 8)` from `spectrum`; the mean brightness is left out.

    Returns:
        `(N, 63)` of -1 and 1, so that a matrix product counts equal bits.
    """
    waves = low.flatten(1)[:, 1:]
    return (waves > waves.median(1, keepdim=True).values).to(low.dtype) * 2 - 1


def hamming(one: Tensor, other: Tensor) -> Tensor:
    """How many bits differ, `(N,)`, of pairs of hashes `(N, 63)`."""
    return (one != other).sum(1)


def position(thumbnail: Tensor, turn: int) -> Tensor:
    """Thumbnails `(N, 32, 32)` in one of the eight positions `TURNS`."""
    part = thumbnail.transpose(1, 2) if turn >= 4 else thumbnail
    axes = [axis for axis, bit in ((2, 1), (1, 2)) if turn & bit]
    return part.flip(axes) if axes else part


def _signs(sign: Tensor) -> list[tuple[Tensor, Tensor]]:
    plain = torch.ones_like(sign)
    pairs = ((plain, plain), (plain, sign), (sign, plain), (sign, sign))
    return [(row[:, None], col) for row, col in pairs]
