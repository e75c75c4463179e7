"""Statistics over rows, once for everybody: intervals, paired tests, calibration, ranking.

Fronts over scipy and scikit-learn, with the conventions stated here and nowhere else.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.metrics import roc_auc_score


class Interval(NamedTuple):
    """An estimate with its interval.

    Args:
        value: the estimate.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def columns(self, name: str) -> dict[str, float]:
        """Returns `name`, `name_low` and `name_high`, as tables have them."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}


NOTHING = Interval(float("nan"), float("nan"), float("nan"))


def rate(k: int, n: int, level: float = 0.95) -> Interval:
    """Share k/n with Wilson's interval; Clopper & Pearson's exact one where k is 0 or n.

    Wilson 1927; Brown, Cai & DasGupta 2001 recommend it for small n.
    """
    if n == 0:
        return NOTHING
    method = "exact" if k in (0, n) else "wilson"
    found = stats.binomtest(int(k), int(n)).proportion_ci(level, method)
    return Interval(k / n, float(found.low), float(found.high))


def mean(values: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = 1000) -> Interval:
    """Mean with its percentile bootstrap interval (Efron 1979), resampling samples.

    Above 512 samples the normal interval, which by then is the same.

    Args:
        values: `(N,)`; what is not finite is left out.
        level: of confidence.
        seed: of the resampling.
        resamples: how many.
    """
    numbers = np.asarray(values, dtype=float)
    numbers = numbers[np.isfinite(numbers)]
    n = len(numbers)
    if n == 0:
        return NOTHING
    generator = np.random.default_rng(seed)
    if n > 512:
        half = stats.norm.ppf((1 + level) / 2) * numbers.std(ddof=1) / n**0.5
        return Interval(float(numbers.mean()), numbers.mean() - half, numbers.mean() + half)
    means = numbers[generator.integers(0, n, (resamples, n))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(numbers.mean()), float(low), float(high))


def student(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of a few independent values, such as seeds, with Student's t interval.

    Args:
        values: `(n,)`; what is not finite is left out. Of a single value there is no interval.
        level: of the interval.
    """
    found = np.asarray(values, float)
    found = found[np.isfinite(found)]
    if len(found) == 0:
        return NOTHING
    middle = float(found.mean())
    if len(found) == 1:
        return Interval(middle, float("nan"), float("nan"))
    half = float(stats.t.ppf((1 + level) / 2, len(found) - 1) * stats.sem(found))
    return Interval(middle, middle - half, middle + half)


def crossed_mean(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over draws and images that meet each other, e.g. damage seeds and test images.

    Both are samples of what might have been: the variances of the means over either side add up
    (Owen, The pigeonhole bootstrap, 0712.1111, 2007; conservative), with Student's t of the draws.

    Args:
        values: `(draws, images)`; NaN where a pair is missing.
        level: of the interval.

    Returns:
        The mean and its interval, cut at 0 and 1 where all values lie between.
    """
    table = np.atleast_2d(np.asarray(values, float))
    draws, images = np.nanmean(table, 1), np.nanmean(table, 0)
    if len(draws) < 2 or len(images) < 2:
        return mean(table.flatten(), level)
    spread = np.sqrt(draws.var(ddof=1) / len(draws) + images.var(ddof=1) / len(images))
    half = float(stats.t.ppf((1 + level) / 2, len(draws) - 1) * spread)
    middle = float(np.nanmean(table))
    if np.nanmin(table) < 0 or np.nanmax(table) > 1:
        return Interval(middle, middle - half, middle + half)
    return Interval(middle, max(0.0, middle - half), min(1.0, middle + half))


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
    one: ArrayLike, other: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = 2000
) -> Interval:
    """Mean of other - one with a paired bootstrap interval: samples are resampled, not models."""
    difference = np.asarray(other, dtype=float) - np.asarray(one, dtype=float)
    if len(difference) == 0:
        return NOTHING
    generator = np.random.default_rng(seed)
    values, counts = np.unique(difference, return_counts=True)
    if len(values) <= 16:  # few distinct values: draw how often each occurs instead of which sample
        drawn = generator.multinomial(len(difference), counts / len(difference), resamples)
        means = drawn @ values / len(difference)
    else:
        rows = (generator.integers(0, len(difference), len(difference)) for _ in range(resamples))
        means = np.array([difference[chosen].mean() for chosen in rows])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference.mean()), float(low), float(high))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction for several tests (1979); returns adjusted p-values, `(M,)`."""
    p = np.asarray(p_values, dtype=float)
    order = p.argsort()
    scaled = p[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled).clip(max=1)
    return adjusted


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017, 1706.04599).

    Biased upwards where samples are few: state n and bins beside it.

    Args:
        confidence: `(N,)` largest softmax.
        correct: `(N,)` whether the prediction is.
        bins: how many; 15 is usual.

    Returns:
        A number in [0, 1]; NaN without samples.
    """
    confidences, hits = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    return _binned(confidences, hits, np.linspace(0, 1, bins + 1))


def ece_interval(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 15,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 200,
) -> Interval:
    """ECE with its basic bootstrap interval, which takes the upward bias back, clipped at 0.

    Args:
        confidence: `(N,)` largest softmax.
        correct: `(N,)` whether the prediction is.
        bins: see `ece`.
        level: of confidence.
        seed: of the resampling.
        resamples: how many.
    """
    confidences, hits = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    value, n = ece(confidences, hits, bins), len(confidences)
    if not np.isfinite(value):
        return Interval(value, float("nan"), float("nan"))
    gap, place = hits - confidences, _places(confidences, np.linspace(0, 1, bins + 1))
    generator = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):  # one at a time: all at once would be gigabytes for large n
        rows = generator.integers(0, n, n)
        drawn[i] = np.abs(np.bincount(place[rows], gap[rows], minlength=bins)).sum() / n
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(max(0.0, 2 * value - high)), float(max(0.0, 2 * value - low)))


def adaptive_ece(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error over bins of equally many samples; see `ece`."""
    confidences, hits = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if len(confidences) == 0:
        return float("nan")
    order = confidences.argsort(kind="stable")
    parts = zip(
        np.array_split(confidences[order], bins), np.array_split(hits[order], bins), strict=True
    )
    gaps = [len(c) * abs(h.mean() - c.mean()) for c, h in parts if len(c)]
    return float(sum(gaps) / len(confidences))


def auroc(score: ArrayLike, positive: ArrayLike) -> float:
    """Probability that a positive scores higher than a negative; NaN if one kind is missing.

    Of the raw score: torchmetrics would pass one outside [0, 1] through a sigmoid, which can tie.
    """
    scores, labels = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    if labels.all() or not labels.any() or not np.isfinite(scores).all():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def auroc_interval(score: ArrayLike, positive: ArrayLike, level: float = 0.95) -> Interval:
    """AUROC with DeLong's interval (DeLong, DeLong & Clarke-Pearson 1988) on the logit scale.

    Without ends where one kind has fewer than two samples, or the two do not overlap at all.

    Args:
        score: `(N,)`.
        positive: `(N,)` which samples should score high.
        level: of confidence.
    """
    scores, labels = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    value = auroc(scores, labels)
    m, n = int(labels.sum()), int((~labels).sum())
    if min(m, n) < 2 or not 0 < value < 1:
        return Interval(value, float("nan"), float("nan"))
    ranks = stats.rankdata(scores)
    over = (ranks[labels] - stats.rankdata(scores[labels])) / n
    under = (ranks[~labels] - stats.rankdata(scores[~labels])) / m
    error = np.sqrt(over.var(ddof=1) / m + under.var(ddof=1) / n) / (value * (1 - value))
    centre, half = np.log(value / (1 - value)), stats.norm.ppf((1 + level) / 2) * error
    low, high = 1 / (1 + np.exp(-(centre + np.array([-half, half]))))
    return Interval(value, float(low), float(high))


def fpr95(score: ArrayLike, positive: ArrayLike) -> float:
    """Share of negatives at or above the threshold that at least 95 % of the positives reach."""
    scores, labels = np.asarray(score, dtype=float), np.asarray(positive, dtype=bool)
    if labels.all() or not labels.any():
        return float("nan")
    threshold = np.quantile(scores[labels], 0.05, method="lower")
    return float((scores[~labels] >= threshold).mean())


def aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve (Geifman & El-Yaniv 2017, 1705.08500), in [0, 1].

    The mean, over all coverages, of the error among the most confident samples.
    """
    confidences, hits = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if len(hits) == 0:
        return float("nan")
    errors = 1 - hits[(-confidences).argsort(kind="stable")]
    return float((errors.cumsum() / np.arange(1, len(errors) + 1)).mean())


def _binned(confidence: np.ndarray, correct: np.ndarray, edges: np.ndarray) -> float:
    if len(confidence) == 0:
        return float("nan")
    place = _places(confidence, edges)
    size = np.bincount(place, minlength=len(edges) - 1)
    gap = np.bincount(place, correct - confidence, minlength=len(edges) - 1)
    return float(np.abs(gap[size > 0]).sum() / len(confidence))


def _places(confidence: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, len(edges) - 2)
