"""Is one model worse than another on the same samples by more than a margin, and could one tell?"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

_LEFT_OUT = 1e-4
"""Chance that the share of discordant pairs lies outside the region that is searched."""
_GRID = 21
"""Shares that are tried in that region."""
_NEVER = 1e-12


def worse_by(one: ArrayLike, other: ArrayLike, margin: float = 0.0) -> float:
    """Exact one-sided p-value that the other is at most `margin` less accurate than the first.

    Without a margin it is McNemar's test (1947) in one direction. With one, how often pairs are
    discordant matters too: the largest p over a region that holds it but for a chance of 1e-4,
    which is added (Berger & Boos 1994), so that the level holds for any number of samples.

    Args:
        one: `(N,)` whether the first is correct.
        other: `(N,)` whether the second is.
        margin: share of the samples, in [0, 1).
    """
    a, b = np.asarray(one, dtype=bool), np.asarray(other, dtype=bool)
    broken, fixed, n = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    if margin <= 0:
        return float(stats.binom.sf(broken - 1, broken + fixed, 0.5))
    region = stats.binomtest(broken + fixed, n).proportion_ci(1 - _LEFT_OUT)
    shares = np.linspace(max(margin, region.low), max(margin, region.high), _GRID)
    return min(1.0, float(_as_large(broken - fixed, n, margin, shares).max()) + _LEFT_OUT)


def smallest_drop(
    n: int, discordant: float, level: float, margin: float = 0.0, power: float = 0.8
) -> float:
    """The least drop of accuracy that `worse_by` would find; infinite where it would find none.

    The normal approximation of McNemar's power (Connor 1987) with correction for continuity.

    Args:
        n: samples.
        discordant: how many of them the two models answer differently right; one more pair of
            either kind is added, as in `paired_difference`.
        level: of the test.
        margin: as in `worse_by`.
        power: chance of finding it.
    """
    share = (discordant + 2) / (n + 2)
    needed, wanted = special.ndtri(1 - level), special.ndtri(power)

    def excess(drop: float) -> float:
        pairs = max(share, drop)
        spread = needed * math.sqrt(pairs - margin**2) + wanted * math.sqrt(pairs - drop**2)
        return (drop - margin) * math.sqrt(n) - 1 / math.sqrt(n) - spread

    if not n or excess(1.0) <= 0:
        return math.inf
    return float(optimize.brentq(excess, margin, 1.0))  # pyright: ignore[reportArgumentType]


def _as_large(lead: int, n: int, margin: float, shares: np.ndarray) -> np.ndarray:
    """Chance of a lead of broken over fixed samples as large, for each share of discordant pairs.

    At the edge of the hypothesis, where broken are more frequent than fixed by the margin.
    """
    fewest = int(stats.binom.ppf(_NEVER, n, shares[0]))
    pairs = np.arange(fewest, int(stats.binom.isf(_NEVER, n, shares[-1])) + 1.0)[:, None]
    least = np.ceil((pairs + lead) / 2)
    among = np.clip((shares + margin) / (2 * shares), 0, 1)
    inside = np.clip(least, 1, np.maximum(pairs, 1))
    tail = special.betainc(inside, pairs - inside + 1, among)  # the binomial's, at its least cost
    tail = np.where(least <= 0, 1.0, np.where(least > pairs, 0.0, tail))
    return (stats.binom.pmf(pairs, n, shares) * tail).sum(0)
