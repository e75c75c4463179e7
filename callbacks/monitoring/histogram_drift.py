"""How far one histogram is from another."""

import torch
from torch import Tensor


def psi(reference: Tensor, current: Tensor) -> float:
    """Population stability index, the symmetrised Kullback-Leibler divergence in nats, >= 0.

    Sum of (q - p) ln(q / p) over bins; half a count is added to each bin so that an empty one does
    not make it infinite (Jeffreys; common practice differs).

    Args:
        reference: `(B,)` counts.
        current: `(B,)` counts in the same bins.
    """
    p, q = ((counts.double() + 0.5) for counts in (reference, current))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * (q / p).log()).sum())


def jensen_shannon_distance(reference: Tensor, current: Tensor) -> float:
    """Square root of the Jensen-Shannon divergence with base 2, in [0, 1] (Endres & Schindelin).

    Args:
        reference: `(B,)` counts.
        current: `(B,)` counts in the same bins.
    """
    p, q = (counts.double() / counts.sum() for counts in (reference, current))
    middle = (p + q) / 2
    divergence = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).nansum()
    return float((divergence / 2 / torch.tensor(2.0).double().log()).clamp(0, 1).sqrt())


def equally_filled(reference: Tensor, counts: Tensor, bins: int = 10) -> Tensor:
    """Joins fine bins so that the reference fills each of at most `bins` about equally.

    Args:
        reference: `(B,)` counts that decide the bins.
        counts: `(B,)` counts to be joined.
        bins: how many.

    Returns:
        `(bins,)` counts; one fine bin may fill several, which then stay empty.
    """
    share = reference.double().cumsum(0) / reference.sum()
    centre = share - reference.double() / reference.sum() / 2
    place = (centre * bins).long().clamp(0, bins - 1)
    return torch.zeros(bins, dtype=torch.float64, device=counts.device).index_add(
        0, place, counts.double()
    )
