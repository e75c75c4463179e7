"""Whether a score ranks models as their transfer turns out."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from callbacks.statistics import LEAST_ROWS, NOTHING, Interval, without_ends


def weighted_tau(
    score: ArrayLike, truth: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = 1000
) -> Interval:
    """Weighted Kendall tau (Vigna 2015, 1404.3325) with its percentile bootstrap over models.

    Exchanges among the best count more. Fewer than `LEAST_ROWS` models have no ends, nor have
    models of which every resample ranks the same: a bootstrap cannot doubt what it never sees.

    Args:
        score: `(M,)` predicted.
        truth: `(M,)` accuracies.
        level: of confidence.
        seed: of the resampling.
        resamples: how many; those without two different models are left out.

    Returns:
        A number in [-1, 1]; NaN for fewer than three models, or where all are equal.
    """
    scores, truths = np.asarray(score, dtype=float), np.asarray(truth, dtype=float)
    known = np.isfinite(scores) & np.isfinite(truths)
    scores, truths = scores[known], truths[known]
    if len(scores) < 3:
        return NOTHING
    value = _tau(scores, truths)
    if len(scores) < LEAST_ROWS or not np.isfinite(value):
        return without_ends(value)
    drawn = np.random.default_rng(seed).integers(0, len(scores), (resamples, len(scores)))
    # Of few models only few samples differ: each is computed once.
    distinct, which = np.unique(np.sort(drawn, axis=1), axis=0, return_inverse=True)
    taus = np.array([_tau(scores[rows], truths[rows]) for rows in distinct])[which.reshape(-1)]
    taus = taus[np.isfinite(taus)]
    low, high = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high)) if high - low > 1e-9 else without_ends(value)


def rank_intervals(
    correct: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = 500
) -> list[Interval]:
    """Ranks models by accuracy, with the ranks that other test images would have given them.

    Args:
        correct: `(M, N)` share of correct answers of each model to each image.
        level: of confidence.
        seed: of the resampling, which draws the same images for all models.
        resamples: how many.

    Returns:
        One rank a model, 1 for the best; equal ones share the mean of their ranks. No ends
        for fewer than `LEAST_ROWS` images.
    """
    hits = np.asarray(correct, dtype=float)
    n, generator = hits.shape[1], np.random.default_rng(seed)
    drawn = np.stack(
        [np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(resamples)]
    )
    ranks = stats.rankdata(-np.round(hits @ drawn.T / n, 12), axis=0)
    low, high = np.quantile(ranks, [(1 - level) / 2, (1 + level) / 2], axis=1)
    own = stats.rankdata(-np.round(hits.mean(1), 12))
    if n < LEAST_ROWS:
        return [without_ends(rank) for rank in own]
    return [Interval(*map(float, three)) for three in zip(own, low, high, strict=True)]


def _tau(score: np.ndarray, truth: np.ndarray) -> float:
    if len(np.unique(score)) < 2 or len(np.unique(truth)) < 2:
        return float("nan")
    return float(stats.weightedtau(truth, score)[0])  # type: ignore[index]
