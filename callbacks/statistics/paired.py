"""Two models on the same samples: is one better, and by how much."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from callbacks.statistics.interval import NOTHING, Interval
from callbacks.statistics.means import crossed_mean, mean


def mcnemar(one: ArrayLike, other: ArrayLike) -> float:
    """Exact two-sided p-value that two models err equally often on the same samples.

    McNemar 1947, with the binomial distribution of the discordant pairs.

    Args:
        one: `(N,)` whether the first is correct.
        other: `(N,)` whether the second is.
    """
    a, b = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0


def paired_difference(
    one: ArrayLike,
    other: ArrayLike,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Mean of other - one over the same samples, never [0, 0] for want of different answers.

    Of right and wrong answers it is Bonett & Price's interval (2012), Wald's with one more pair of
    either discordant kind: ± 2.8/n where no pair is discordant. Of anything else it is that of
    `mean`. Measured coverage .93 to .98, up to 1 where n · discordant rate is below about 5.

    Args:
        one: `(N,)` of the first model.
        other: `(N,)` of the second, in the same order.
        level: of confidence.
        seed: see `mean`.
        resamples: see `mean`.
        bounds: of what either model may have: the default of shares, such as averages of draws;
            for losses give `(0, inf)`.

    Raises:
        UserError: a value outside the bounds.
    """
    first, second = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
    if len(first) == 0:
        return NOTHING
    difference = second - first
    if bounds == (0.0, 1.0) and np.isin([first, second], (0, 1)).all():
        return _of_answers(difference, level)
    reach = bounds[1] - bounds[0]
    return mean(difference, level, seed, resamples, bounds=(-reach, reach))


def crossed_difference(one: ArrayLike, other: ArrayLike, level: float = 0.95) -> Interval:
    """The same over draws and images that meet each other, e.g. training seeds and test images.

    That of `crossed_mean`, with one more image of either discordant kind under every draw; of one
    draw of answers it is `paired_difference`. Measured coverage .93 to 1, as there.

    Args:
        one: `(draws, images)` of the first model, in [0, 1].
        other: `(draws, images)` of the second.
        level: of confidence.
    """
    first, second = (np.atleast_2d(np.asarray(side, float)) for side in (one, other))
    if len(first) < 2 or not first.size:
        return paired_difference(first.reshape(-1), second.reshape(-1), level)
    difference = second - first
    _, low, high = crossed_mean(
        np.pad(difference, ((0, 0), (1, 1)), constant_values=(-1, 1)), level
    )
    return Interval(float(difference.mean()), max(-1.0, low), min(1.0, high))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction for several tests (1979); returns adjusted p-values, `(M,)`."""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort()
    scaled = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled).clip(max=1)
    return adjusted


def _of_answers(difference: np.ndarray, level: float) -> Interval:
    """Bonett & Price's adjusted Wald interval; differences are -1, 0 and 1."""
    n = len(difference) + 2
    gained, lost = (difference == 1).sum() + 1, (difference == -1).sum() + 1
    middle = (gained - lost) / n
    spread = np.sqrt(((gained + lost) / n - middle**2) / n)
    half = special.ndtri((1 + level) / 2) * spread
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    return Interval(float(difference.mean()), float(low), float(high))
