"""How much of something is left, where there was enough of it to say so."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from callbacks.statistics.interval import NOTHING, Interval

_ROUGH = 0.25


def ratio(part: ArrayLike, whole: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of one thing in units of the mean of another on the same samples, if that says anything.

    Fieller's interval (1954), all r for which part - r · whole may have the mean 0; one more pair
    of either discordant kind, as in `paired_difference`, leaves a doubt where the two never differ.
    Measured coverage of what is told .93 to 1, at n = 20 down to .89.

    Args:
        part: `(N,)` shares in [0, 1], e.g. whether the student is right.
        whole: `(N,)` shares of the same samples, e.g. whether its teacher is.
        level: of confidence.

    Returns:
        A ratio >= 0, possibly above 1; `NOTHING` where the whole may as well be 0, and where the
        interval is too wide to be told (see `worth_telling`).
    """
    above, below = np.asarray(part, float), np.asarray(whole, float)
    if not below.sum():
        return NOTHING
    pairs = np.column_stack([np.append(above, [1, 0]), np.append(below, [0, 1])])
    (x, y), n = pairs.mean(0), len(pairs)
    spread = np.cov(pairs.T) * special.stdtrit(n - 1, (1 + level) / 2) ** 2 / n
    lead, middle, rest = y**2 - spread[1, 1], x * y - spread[0, 1], x**2 - spread[0, 0]
    if lead <= 0:
        return NOTHING
    reach = np.sqrt(max(0.0, middle**2 - lead * rest))
    low, high = max(0.0, (middle - reach) / lead), (middle + reach) / lead
    return worth_telling(Interval(float(above.sum() / below.sum()), float(low), float(high)))


def worth_telling(found: Interval) -> Interval:
    """Returns a ratio if its interval says something, else `NOTHING`.

    Half of the interval may reach a quarter of the ratio, or of the whole where the ratio is below
    1: 0.90 ± 0.24 is told, 0.19 ± 0.46 is noise. So is what has no ends.
    """
    half = (found.high - found.low) / 2
    return found if half <= _ROUGH * max(1.0, abs(found.value)) else NOTHING
