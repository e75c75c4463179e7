"""Shares of counted things."""

from typing import Any

import numpy as np
from scipy import special

from callbacks.statistics.interval import NOTHING, Interval

_FEW = 3
_NONE = 1e-9  # of a count that is a product of floats


def rate(k: int, n: int, level: float = 0.95) -> Interval:
    """Share k/n with Wilson's interval (1927), of any n.

    Where k is 0 or n it is Clopper & Pearson's exact one, and up to three from there the near end
    is Poisson's, which fills Wilson's gaps (Brown, Cai & DasGupta 2001, 4.1.1). Counts are whole,
    so that no interval holds 95 % everywhere: .926 to .97 at n >= 20, more only where n · rate or
    n · (1 - rate) is below about 5.
    """
    if n == 0:
        return NOTHING
    low, high = share_ends(int(k) / int(n), int(n), level)
    return Interval(int(k) / int(n), float(low), float(high))


def share_ends(share: Any, trials: Any, level: float = 0.95) -> tuple[Any, Any]:
    """Both ends of `rate`, for arrays, and for trials that are not whole.

    Args:
        share: in [0, 1].
        trials: of which it is the share, > 0.
        level: of confidence.
    """
    return _low_end(share, trials, level), 1 - _low_end(1 - share, trials, level)


def score_ends(share: Any, trials: Any, quantile: Any) -> tuple[Any, Any]:
    """Both ends of Wilson's score interval, for arrays too.

    Args:
        share: in [0, 1].
        trials: of which it is the share; need not be whole, so that an estimate with variance v has
            its effective number share · (1 - share) / v (Korn & Graubard 1998).
        quantile: of the error, 1.96 for 95 %.
    """
    weight = quantile**2 / trials
    centre = (share + weight / 2) / (1 + weight)
    half = np.sqrt(weight * share * (1 - share) + weight**2 / 4) / (1 + weight)
    return centre - half, centre + half


def _low_end(share: Any, trials: Any, level: float) -> Any:
    hits, misses = share * trials, (1 - share) * trials
    low = score_ends(share, trials, special.ndtri((1 + level) / 2))[0]
    # The mean of Poisson's distribution that reaches as many with probability 1 - level
    poisson = special.gammaincinv(np.maximum(hits, _NONE), 1 - level)
    low = np.where(hits <= _FEW + _NONE, np.minimum(low, poisson / trials), low)
    low = np.where(misses <= _NONE, ((1 - level) / 2) ** (1 / trials), low)
    return np.where(hits <= _NONE, 0.0, low)
