"""How many images each class has, in each split, and whether the splits share them out alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from callbacks.statistics import NOTHING, Interval, rate

_FEW = 5.0
"""Below as many expected images in a cell the chi-square distribution does not hold (Cochran)."""
_DRAWS = 1999


@dataclass(frozen=True)
class Imbalance:
    """Images by class and split.

    Args:
        counts: `(classes, splits)`.
        names: of the classes.
    """

    counts: pd.DataFrame
    names: Sequence[str]

    def missing(self, split: str) -> list[str]:
        """Classes without an image."""
        counts = self.counts[split].tolist()
        return [name for name, count in zip(self.names, counts, strict=True) if not count]

    def ratio(self, split: str) -> Interval:
        """Largest class by smallest, infinite where one is empty.

        The interval is the exact one of these two counts; that they are the extremes of several
        makes the ratio of equal classes larger than 1, too.
        """
        counts = self.counts[split].to_numpy()
        most, least = int(counts.max()), int(counts.min())
        share = rate(most, most + least)
        odds = [part / (1 - part) if part < 1 else float("inf") for part in share]
        return Interval(*odds) if least else NOTHING

    def effective(self, split: str, seed: int = 0) -> Interval:
        """Effective number of classes: the exponential of the entropy of their shares.

        Hill's number of order 1 (1973): how many equal classes would be as diverse. A percentile
        bootstrap, moved by its bias.
        """
        counts = self.counts[split].to_numpy(float)
        draws = np.random.default_rng(seed).multinomial(
            int(counts.sum()), counts / counts.sum(), 999
        )
        found, drawn = _perplexity(counts), _perplexity(draws)
        drawn = drawn + found - drawn.mean()
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Interval(float(found), float(low), float(min(high, len(counts))))


@dataclass(frozen=True)
class Difference:
    """Whether two splits have classes in the same shares.

    Args:
        p: of the chi-square test of homogeneity.
        effect: Cramér's V without its bias, from 0 (same shares) to 1, by the noncentral
            chi-square.
    """

    p: float
    effect: Interval


def difference(one: Sequence[int], other: Sequence[int], seed: int = 0) -> Difference:
    """Compares images by class in two splits.

    Pearson's chi-square; where few images are expected in some class, by random tables with the
    same margins in place of the chi-square distribution.

    Args:
        one: images of each class.
        other: the same of another split.
        seed: of the random tables.
    """
    table = np.array([one, other], dtype=int)
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2 or not table.sum(1).all():
        return Difference(float("nan"), NOTHING)
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    value = float(((table - expected) ** 2 / expected).sum())
    freedom, n = table.shape[1] - 1, int(table.sum())
    if expected.min() >= _FEW:
        p = float(stats.chi2.sf(value, freedom))
    else:
        drawn = stats.random_table(table.sum(1), table.sum(0)).rvs(_DRAWS, random_state=seed)
        others = ((drawn - expected) ** 2 / expected).sum((1, 2))
        p = float((1 + (others >= value * (1 - 1e-12)).sum()) / (1 + _DRAWS))
    low, high = (_noncentrality(value, freedom, q) for q in (0.975, 0.025))
    ends = [float(np.sqrt(min(1.0, part / n))) for part in (max(0.0, value - freedom), low, high)]
    return Difference(p, Interval(*ends))


def _noncentrality(value: float, freedom: int, quantile: float) -> float:
    """The noncentrality under which the value is at this quantile; 0 where none is."""

    def apart(noncentrality: float) -> float:
        return float(stats.ncx2.cdf(value, freedom, noncentrality)) - quantile

    if float(stats.chi2.cdf(value, freedom)) <= quantile:
        return 0.0
    high = value + 10 * np.sqrt(value + 1) + 10
    return float(optimize.brentq(apart, 1e-9, 4 * high))  # type: ignore[arg-type]


def count(labels: Mapping[str, np.ndarray], names: Sequence[str]) -> Imbalance:
    """Counts the labels `(N,)` of every split."""
    columns = {split: np.bincount(label, minlength=len(names)) for split, label in labels.items()}
    return Imbalance(pd.DataFrame(columns), list(names))


def _perplexity(counts: np.ndarray) -> np.ndarray:
    shares = counts / counts.sum(-1, keepdims=True)
    return np.exp(special.entr(shares).sum(-1))
