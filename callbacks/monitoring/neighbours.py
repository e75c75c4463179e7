"""Distance to the k-th nearest training image in feature space."""

import torch
from torch import Tensor

_ROWS = 1024
"""Images compared with the bank at a time, which bounds the memory."""


def unit_length(features: Tensor) -> Tensor:
    """Features `(N, D)` divided by their length; zero stays zero."""
    return torch.nn.functional.normalize(features.float(), dim=1)


def nearest_neighbour(bank: Tensor, features: Tensor, k: int) -> Tensor:
    """Minus the Euclidean distance to the k-th nearest of the bank, `(N,)` in [-2, 0].

    Both sides are of unit length (Sun et al. 2204.06507, 2022).

    Args:
        bank: `(M, D)` training features, see `unit_length`.
        features: `(N, D)` as they are.
        k: which neighbour, at most M.
    """
    parts = [
        # Without the product trick: it loses half the digits of small distances.
        torch.cdist(part, bank, compute_mode="donot_use_mm_for_euclid_dist")
        .kthvalue(k, dim=1)
        .values
        for part in unit_length(features).split(_ROWS)
    ]
    return -torch.cat(parts)
