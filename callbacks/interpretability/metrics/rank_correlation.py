"""Correlations of many pairs at once, and the agreement of methods."""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from torch import Tensor


def pearson(one: Tensor, other: Tensor) -> Tensor:
    """Correlation of each row of two `(..., P)` tensors: `(...)` in [-1, 1].

    Not a number where a row does not vary: a constant agrees with nothing.
    """
    a, b = one.double(), other.double()
    constant = (a == a[..., :1]).all(-1) | (b == b[..., :1]).all(-1)
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    value = (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()
    return torch.where(constant, torch.nan, value.clamp(-1, 1)).to(one)


def ranks(value: Tensor) -> Tensor:
    """Ranks from 1 in ascending order along the last dimension; equal values share their mean."""
    value = value.contiguous()
    ordered = value.sort(-1).values
    below = torch.searchsorted(ordered, value, right=False)
    upto = torch.searchsorted(ordered, value, right=True)
    return (below + upto + 1).double() / 2


def spearman(one: Tensor, other: Tensor) -> Tensor:
    """Rank correlation of each row of two `(..., P)` tensors; see `pearson`."""
    return pearson(ranks(one), ranks(other)).to(one)


def agreement(maps: Sequence[Tensor]) -> Tensor:
    """Rank correlation between the maps of M methods for the same images, pair by pair.

    Of all methods only ranks in float32 exist at once, which hold halves up to 2²² exactly.

    Args:
        maps: M tensors `(N, 1, H, W)`.

    Returns:
        `(M, M, N)`, 1 on the diagonal.
    """
    place = [ranks(one.flatten(1)).float() for one in maps]
    found = torch.stack([torch.zeros_like(place[0][:, 0])] * len(place) ** 2)
    found = found.unflatten(0, (len(place), len(place)))
    for i, j in combinations_with_replacement(range(len(place)), 2):
        found[i, j] = found[j, i] = pearson(place[i], place[j])
    return found
