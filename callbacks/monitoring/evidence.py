"""What was measured for a part of the monitorability score, and what others would have given."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from callbacks.statistics import LEAST_ROWS, NOTHING, Interval, auroc_interval, without_ends


@dataclass(frozen=True)
class Evidence:
    """What was measured for one part, beside its control and its ideal.

    The part is (mean measured - mean control) / (mean ideal - mean control): a ratio of means, so
    that no single image with a small denominator decides.

    Args:
        measured: `(N,)` of the model's explanations.
        control: `(N,)` the same of the random control.
        ideal: `(N,)` or one number, the best that is attainable.
        index: `(N,)` images they are of; None if they are no images but, for instance, units.
        population: how many there are in all; None: any number. Of all units of a layer nothing is
            left to chance, hence the correction for a finite population.
    """

    measured: ArrayLike
    control: ArrayLike
    ideal: ArrayLike
    index: ArrayLike | None = None
    population: int | None = None


@dataclass(frozen=True)
class FailureEvidence:
    """Rows of the clean images.

    Args:
        confidence: `(N,)`.
        correct: `(N,)` whether the prediction is.
        index: `(N,)` images.
    """

    confidence: ArrayLike
    correct: ArrayLike
    index: ArrayLike


class Sample:
    """The finite rows of one part."""

    def __init__(self, evidence: Evidence | FailureEvidence) -> None:
        self.failure = isinstance(evidence, FailureEvidence)
        if isinstance(evidence, FailureEvidence):
            columns = [evidence.confidence, evidence.correct, evidence.correct]
        else:
            columns = [evidence.measured, evidence.control, evidence.ideal]
        rows = np.broadcast_arrays(*(np.asarray(column, dtype=float) for column in columns))
        finite = np.isfinite(rows).all(0)
        self.measured, self.control, self.ideal = (column[finite] for column in rows)
        if self.failure:
            self.place = np.unique(self.measured, return_inverse=True)[1]
        n, population = len(self.measured), getattr(evidence, "population", None)
        self.correction = (max(0.0, 1 - n / population)) ** 0.5 if population else 1.0
        index = evidence.index
        self.index = None if index is None else np.asarray(index)[finite]

    def value(self, weight: np.ndarray | None = None) -> float:
        """The part, unclipped; weights count how often each row was drawn."""
        if self.failure:
            return 2 * self._auroc(weight) - 1
        if not len(self.measured):
            return float("nan")
        means = [np.average(part, weights=weight) for part in
                 (self.measured, self.control, self.ideal)]  # fmt: skip
        span = means[2] - means[1]
        return float((means[0] - means[1]) / span) if span else 0.0

    @cached_property
    def exact(self) -> bool:
        """Whether what others would have given is drawn from a posterior, which holds for any n."""
        if self.failure:
            return abs(self.value()) == 1
        return self.index is None and bool(np.isin(self.measured, (0, 1)).all())

    def spread_as_known(self, drawn: np.ndarray, level: float) -> np.ndarray:
        """Widens what was drawn of an AUROC to what its own interval says of few errors."""
        if not self.failure or self.exact or not np.isfinite(self.value()):
            return drawn
        known = auroc_interval(-self.measured, self.control == 0, level)
        wanted = (known.high - known.low) / stats.norm.ppf((1 + level) / 2)
        spread = np.nanstd(drawn, ddof=1)
        return self.value() + (drawn - self.value()) * (wanted / spread if spread > 0 else np.nan)

    def interval(self, drawn: np.ndarray, level: float) -> Interval:
        """The part with its interval; without ends where too few rows say nothing about it."""
        if not self.enough:
            return without_ends(float(np.clip(self.value(), 0, 1)))
        found = normal_interval(self.value(), drawn, level)
        # Wholly below the scale: 0, but not with certainty, as ends of 0 would say.
        return without_ends(0.0) if found.high == 0 else found

    @property
    def enough(self) -> bool:
        """Whether there are rows enough for an interval."""
        return len(self.measured) >= LEAST_ROWS or self.exact

    def resampled(
        self, images: np.ndarray, weight: np.ndarray, generator: np.random.Generator
    ) -> float:
        """The part for images drawn `weight` times each, or for its own rows drawn anew."""
        n = len(self.measured)
        if not n:
            return float("nan")
        if self.exact:
            return (self._separation_drawn if self.failure else self._rate_drawn)(generator)
        if self.index is None:
            own = np.bincount(generator.integers(0, n, n), minlength=n)
        else:
            own = weight[np.searchsorted(images, self.index)]
        if not own.any():
            return float("nan")
        whole = self.value()
        return whole + self.correction * (self.value(own) - whole)

    def _rate_drawn(self, generator: np.random.Generator) -> float:
        """The part with its rate drawn from Jeffreys' posterior: 12 of 12 are not certain."""
        n, hits, control = len(self.measured), self.measured.sum(), self.control.mean()
        span = self.ideal.mean() - control
        whole, drawn = hits / n, generator.beta(hits + 0.5, n - hits + 0.5)
        rate = whole + self.correction * (drawn - whole)
        return float((rate - control) / span) if span else 0.0

    def _separation_drawn(self, generator: np.random.Generator) -> float:
        """The same for errors and correct answers that do not overlap, the fewer as trials."""
        few = min(self.control.sum(), (1 - self.control).sum())
        return float(self.value() * (2 * generator.beta(few + 0.5, 0.5) - 1))

    def _auroc(self, weight: np.ndarray | None) -> float:
        """How often an error is less confident than a correct answer, rows counted by weight."""
        times = np.ones(len(self.place)) if weight is None else weight
        good = np.bincount(self.place, times * self.control)
        bad = np.bincount(self.place, times * (1 - self.control))
        pairs = good.sum() * bad.sum()
        return float(bad @ (good.sum() - good.cumsum() + good / 2) / pairs) if pairs else np.nan

    def means(self) -> tuple[float, float, float]:
        """Measured, control and ideal, on the part's own scale."""
        if self.failure:
            return self._auroc(None), 0.5, 1.0
        if not len(self.measured):
            return float("nan"), float("nan"), float("nan")
        return float(self.measured.mean()), float(self.control.mean()), float(self.ideal.mean())


def normal_interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    """The estimate, clipped to [0, 1], with the normal interval of the bootstrap's spread.

    The normal one, because percentiles of few draws would need thousands of resamples.
    """
    if not np.isfinite(value):
        return NOTHING
    if np.isfinite(drawn).sum() < 2:
        return without_ends(float(np.clip(value, 0, 1)))
    half = stats.norm.ppf((1 + level) / 2) * np.nanstd(drawn, ddof=1)
    return Interval(*(float(np.clip(x, 0, 1)) + 0.0 for x in (value, value - half, value + half)))
