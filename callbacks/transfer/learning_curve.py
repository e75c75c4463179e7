"""How many labels a task needs: the error by labelled images as a power law, carried on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from callbacks.statistics import Interval

_SIZES, _REACH = 4, 10.0
"""Sizes that three constants need at least, and how far beyond the largest one they are told."""
_EXPONENTS = np.geomspace(0.05, 3, 160)
_UNFIT = 0.01
UNKNOWN = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class PowerLaw:
    """error(n) = a + b n^-c (Figueroa et al. 2012; Mahmood et al. 2022, 2207.01725).

    Args:
        a: error that no number of labels takes away.
        b: error of a single label above it.
        c: how fast it falls.
    """

    a: float
    b: float
    c: float

    def error(self, samples: np.ndarray | float) -> np.ndarray | float:
        """Of so many labelled images, as a share."""
        return self.a + self.b * np.asarray(samples, float) ** -self.c

    def samples(self, error: float) -> float:
        """Labelled images that bring the error down to this; infinite where it levels above."""
        if error <= self.a:
            return math.inf
        return float((self.b / (error - self.a)) ** (1 / self.c)) if self.b > 0 else 1.0


@dataclass(frozen=True)
class Sufficiency:
    """How many labelled images a wanted accuracy takes.

    Args:
        wanted: accuracy, as a share.
        samples: how many, with the ends of the interval, of which the upper may be infinite; NaN
            where no number is told.
        level: accuracy that no number of labels raises, with its interval.
        curve: that was carried on, where there is one.
        refused: why no number is told; empty where it is.
    """

    wanted: float
    samples: Interval = UNKNOWN
    level: Interval = UNKNOWN
    curve: PowerLaw | None = None
    refused: str = ""


def fit_power_law(samples: np.ndarray, error: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Fits error = a + b n^-c by weighted least squares, with a and b at least 0.

    For each exponent of a grid a and b follow in closed form; so there is no start to depend on.

    Args:
        samples: `(F,)` labelled images.
        error: `(R, F)`, R curves at once.
        weight: `(F,)`, inverse variances.

    Returns:
        `(R, 4)`: a, b, c and the weighted sum of squares that is left.
    """
    smallest = samples.min()
    best = np.full((len(error), 4), np.inf)
    for c in _EXPONENTS:
        x = (samples / smallest) ** -c
        a, b = _line(x, error, weight)
        left = (weight * (error - a[:, None] - b[:, None] * x) ** 2).sum(1)
        better = left < best[:, 3]
        found = np.stack([a, b * smallest**c, np.full_like(a, c), left], 1)
        best[better] = found[better]
    return best


def sufficiency(
    hits: Mapping[int, np.ndarray], wanted: float = 0.95, resamples: int = 400, seed: int = 0
) -> Sufficiency:
    """Carries a learning curve on to a wanted accuracy, or says why it does not carry.

    The interval comes from drawing the test images anew, the same ones for all sizes, and the
    means over draws of the labelled images: these by Student's t, since their spread is known from
    few draws. It is pooled over the sizes, as a multiple of p (1 - p).

    Args:
        hits: by number of labelled images `(S, N)`: whether each of S draws got each of the same N
            test images right.
        wanted: accuracy, in (0, 1).
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    sizes = np.array(sorted(hits), float)
    tables = [1.0 - np.asarray(hits[int(n)], float) for n in sizes]
    error = np.array([table.mean() for table in tables])
    for n, reached in zip(sizes, 1 - error, strict=True):
        if reached >= wanted:
            told = f"reached with {n:,.0f} labelled images already ({100 * reached:.1f} %)"
            return Sufficiency(wanted, refused=told)
    if len(sizes) < _SIZES:
        told = f"{len(sizes)} sizes are too few: give at least {_SIZES} --fractions"
        return Sufficiency(wanted, refused=told)
    draws = np.array([len(table) for table in tables])
    freedom = int((draws - 1).sum())
    if freedom < len(sizes):
        told = "one draw of the images tells no spread: give at least 2 --seeds"
        return Sufficiency(wanted, refused=told)
    return _carried_on(sizes, tables, error, draws, freedom, wanted, resamples, seed)


def _carried_on(
    sizes: np.ndarray, tables: list[np.ndarray], error: np.ndarray, draws: np.ndarray,
    freedom: int, wanted: float, resamples: int, seed: int,
) -> Sufficiency:  # fmt: skip
    n = tables[0].shape[1]
    possible = np.clip(error * (1 - error), 1 / n, None)
    within = [((table.mean(1) - e) ** 2).sum() for table, e in zip(tables, error, strict=True)]
    spread = max(float((np.array(within) / possible).sum() / freedom), 1e-9)
    variance = spread * possible / draws
    a, b, c, left = fit_power_law(sizes, error[None], 1 / variance)[0]
    curve = PowerLaw(float(a), float(b), float(c))

    generator = np.random.default_rng(seed)
    images = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n
    drawn = images @ np.stack([table.mean(0) for table in tables], 1)
    drawn += np.sqrt(variance) * generator.standard_t(freedom, (resamples, len(sizes)))
    fits = fit_power_law(sizes, drawn.clip(0, 1), 1 / variance)
    curves = [PowerLaw(*fit[:3]) for fit in fits]
    needed = Interval(curve.samples(1 - wanted), *_ends([x.samples(1 - wanted) for x in curves]))
    level = Interval(1 - curve.a, *_ends([1 - x.a for x in curves]))
    found = Sufficiency(wanted, needed, level, curve)
    told = _refused(found, sizes, error, left, freedom)
    return replace(found, samples=UNKNOWN, refused=told) if told else found


def _refused(
    found: Sufficiency, sizes: np.ndarray, error: np.ndarray, left: float, freedom: int
) -> str:
    """Why a fitted curve tells no number; nothing where it does."""
    from scipy.stats import f as fisher

    assert found.curve is not None
    spare = len(sizes) - 3
    if fisher.sf(left / spare, spare, freedom) < _UNFIT:
        return "the errors do not follow a power law"
    if found.curve.error(sizes[0]) - found.curve.error(sizes[-1]) < 0.01:
        return "more labels have not helped so far"
    needed, far = found.samples, _REACH * sizes[-1]
    if needed.value <= far:
        return ""
    told = f"more than {far:,.0f}, ten times what was measured: too far to tell"
    if math.isinf(needed.value):
        told = "more labels alone do not do it: the curve levels below"
    return told if needed.low > far else f"{told}, but at least {float(f'{needed.low:.2g}'):,.0f}"


def _line(x: np.ndarray, error: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted least squares of a + b x with a and b at least 0, for each row."""
    total, wx, wxx = weight.sum(), (weight * x).sum(), (weight * x * x).sum()
    wy, wxy = error @ weight, error @ (weight * x)
    b = (total * wxy - wx * wy) / max(total * wxx - wx * wx, 1e-300)
    a = (wy - b * wx) / total
    a, b = np.where(a < 0, 0.0, a), np.where(a < 0, wxy / wxx, b)
    return np.where(b < 0, wy / total, a), np.maximum(b, 0.0)


def _ends(values: list[float]) -> tuple[float, float]:
    """2.5 % and 97.5 % of values, some of which may be infinite."""
    ordered = np.sort(values)
    last = len(ordered) - 1
    return float(ordered[math.floor(0.025 * last)]), float(ordered[math.ceil(0.975 * last)])
