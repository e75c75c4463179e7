"""How well a score tells two kinds of samples apart."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from callbacks.statistics.interval import Interval, without_ends
from callbacks.statistics.rates import score_ends


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive scores higher than a negative; NaN if one kind is missing.

    By the sum of ranks (Mann & Whitney 1947), of the raw score: torchmetrics would pass one outside
    [0, 1] through a sigmoid, which can tie.
    """
    scores, labels = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    if labels.all() or not labels.any() or not np.isfinite(scores).all():
        return float("nan")
    few = labels.sum()
    above = stats.rankdata(scores)[labels].sum() - few * (few + 1) / 2
    return float(above / (few * (len(labels) - few)))


def auroc_interval(score: ArrayLike, positive: ArrayLike, level: float = 0.95) -> Interval:
    """AUROC with an interval that holds up to perfect separation, where it has one side.

    DeLong's variance (DeLong, DeLong & Clarke-Pearson 1988) with one more placement of a half on
    either side, which perfect samples need, as the effective number of Wilson's interval, with
    Welch's degrees of freedom. Measured coverage .92 to .99, up to 1 for fewer than ten of a
    kind. Without ends for fewer than two of either, and where all scores are equal.

    Args:
        score: `(N,)`.
        positive: `(N,)` which samples should score high.
        level: of confidence.
    """
    scores, labels = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    value = auroc(scores, labels)
    m, n = int(labels.sum()), int((~labels).sum())
    if min(m, n) < 2 or not np.isfinite(value):
        return without_ends(value)
    ranks = stats.rankdata(scores)
    over = (ranks[labels] - stats.rankdata(scores[labels])) / n
    under = (ranks[~labels] - stats.rankdata(scores[~labels])) / m
    errors = np.array([np.append(side, 0.5).var() / len(side) for side in (over, 1 - under)])
    if not errors.any():  # all scores are equal: 0.5, whatever the samples
        return without_ends(value)
    freedom = errors.sum() ** 2 / (errors**2 / (m - 1, n - 1)).sum()
    few = min(m, n)
    shrunk = (value * few + 0.5) / (few + 1)
    trials = shrunk * (1 - shrunk) / errors.sum()
    low, high = score_ends(value, trials, special.stdtrit(freedom, (1 + level) / 2))
    return Interval(value, float(low), float(high))


def fpr95(score: ArrayLike, positive: ArrayLike) -> float:
    """Share of negatives at or above the threshold that at least 95 % of the positives reach."""
    scores, labels = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    if labels.all() or not labels.any():
        return float("nan")
    own = np.sort(scores[labels])
    missed = len(own) // 20  # in whole numbers: 0.05 · n may fall a hair short of a whole one
    return float((scores[~labels] >= own[missed]).mean())
