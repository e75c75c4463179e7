"""Ranks of several models on the same images, with what the choice of images leaves open."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from callbacks.statistics import Interval, mean, rate

_AT_ONCE = 50
"""Resamples whose counts are held in memory together."""


def resampled_means(values: np.ndarray, seed: int = 0, resamples: int = 1000) -> np.ndarray:
    """Means over resampled images, the same resample for all columns: `(resamples, M)`.

    Args:
        values: `(images, M)`.
        seed: of the bootstrap.
        resamples: how many.
    """
    n, generator = len(values), np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, _AT_ONCE):
        drawn = generator.integers(0, n, (min(_AT_ONCE, resamples - start), n))
        counts = np.stack([np.bincount(line, minlength=n) for line in drawn])
        means.append(counts @ values / n)
    return np.concatenate(means)


def rank_intervals(
    values: np.ndarray, resampled: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest rank that each model may have; covers its true rank with `level`.

    A model's differences from all others are judged together by the largest of their studentised
    bootstrap deviations; those beyond it count as surely better or worse (Mogstad, Romano, Shaikh &
    Wilhelm 2024, marginal confidence sets; the plain bootstrap of ranks does not hold near ties).
    Standard errors have one more image of either discordant kind, as Bonett & Price's have.

    Args:
        values: `(images, M)` in [0, 1].
        resampled: from `resampled_means`, `(resamples, M)`.
        level: of confidence.

    Returns:
        Two `(M,)` arrays of whole numbers from 1 to M.
    """
    n, models = len(values) + 2, values.shape[1]
    middle, sums, products = values.mean(0), values.sum(0), values.T @ values
    squares = np.diag(products)[:, None] + np.diag(products) - 2 * products + 2
    error = np.sqrt((squares / n - ((sums[:, None] - sums) / n) ** 2) / n)
    difference = middle - middle[:, None]  # of column k over row j
    least = special.ndtri((1 + level) / 2)
    low, high = np.ones(models, int), np.full(models, models)
    for j in range(models):
        moved = resampled - resampled[:, [j]] - difference[j]
        largest = np.abs(moved / error[j]).max(1)
        reach = max(least, np.quantile(largest, level)) * error[j]
        low[j] += int((difference[j] > reach).sum())
        high[j] -= int((difference[j] < -reach).sum())
    return low, high


def leaderboard(values: np.ndarray, resampled: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Models by falling mean.

    Args:
        values: `(images, M)` how far each answer is right, in [0, 1].
        resampled: from `resampled_means`.
        names: of the models.

    Returns:
        `model n acc acc_low acc_high rank rank_low rank_high first`: equal means share a rank;
        `first` is the share of resamples in which the model is first, ties split.
    """
    middle = values.mean(0)
    low, high = rank_intervals(values, resampled)
    leads = resampled >= resampled.max(1, keepdims=True) - 1e-12
    first = (leads / leads.sum(1, keepdims=True)).mean(0)
    lines = [
        {
            "model": name,
            "n": len(values),
            **_accuracy(values[:, j]).columns("acc"),
            "rank": 1 + int((middle > middle[j] + 1e-12).sum()),
            "rank_low": low[j],
            "rank_high": high[j],
            "first": first[j],
        }
        for j, name in enumerate(names)
    ]
    return pd.DataFrame(lines).sort_values("rank", kind="stable").reset_index(drop=True)


def _accuracy(correct: np.ndarray) -> Interval:
    if np.isin(correct, (0, 1)).all():
        return rate(int(correct.sum()), len(correct))
    return mean(correct, bounds=(0.0, 1.0))
