"""Monitorability score: how far a model can be explained and watched, 0 to 1, from six parts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from callbacks.statistics import Interval
from datamodules.errors import UserError

PARTS: dict[str, str] = {
    "faithfulness": "symmetric relevance gain; 0: a random map, 1: one patch decides everything",
    "stability": "max-sensitivity; 0: the map's values in an order redrawn for every image, 1: it "
    "never changes",
    "randomisation": "1 - rank correlation of the maps before and after all parameters are "
    "randomised, less what changes when it is asked for again; 0: a map that ignores the model, 1: "
    "nothing is left of it",
    "surrogate": "held-out R² of the local linear surrogate, negative ones as 0; 0: no better than "
    "the mean, 1: exact",
    "units": "share of units whose maximised image beats the 99.9th percentile of natural "
    "activations; 0: noise images do as well, 1: all units",
    "failure": "2·AUROC - 1 of low confidence telling errors; 0: chance, 1: every error",
}
"""What each part is and what its scale means."""


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


@dataclass(frozen=True)
class ScoredPart:
    """One part of the score.

    Args:
        name: key of `PARTS`.
        value: in [0, 1] with its 95 % interval; not a number where it is undefined.
        measured: mean, on its own scale.
        control: mean of the random control, on the same scale.
        ideal: on the same scale.
        n: images or units.
    """

    name: str
    value: Interval
    measured: float
    control: float
    ideal: float
    n: int


@dataclass(frozen=True)
class MonitorabilityScore:
    """The plain mean of the parts, which are never shown apart from it.

    Args:
        value: in [0, 1], with its 95 % bootstrap interval over images and units; not a number where
            a part is undefined.
        parts: all six.
    """

    value: Interval
    parts: tuple[ScoredPart, ...]

    def table(self) -> pd.DataFrame:
        """One line a part, then the score: `part value low high measured control ideal n scale`."""
        lines = [
            {
                "part": one.name, **one.value._asdict(), "measured": one.measured,
                "control": one.control, "ideal": one.ideal, "n": one.n, "scale": PARTS[one.name],
            }
            for one in self.parts
        ]  # fmt: skip
        total = {"part": "monitorability", **self.value._asdict(), "scale": "mean of the parts"}
        return pd.DataFrame([*lines, total])

    def __str__(self) -> str:
        parts = ", ".join(f"{one.name} {one.value.value:.2f}" for one in self.parts)
        return f"monitorability {self.value} (parts: {parts}; every random control is 0)"


def monitorability(
    evidence: Mapping[str, Evidence | FailureEvidence],
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 1000,
) -> MonitorabilityScore:
    """Scales the parts, takes their mean and bootstraps both.

    Images are resampled once for all parts, as the parts were measured on the same ones; units are
    resampled on their own. What is not finite is left out; where nothing is left of a part, for
    instance because the model makes no error that could be detected, that part and the score are
    not a number: a mean of the other parts would not be comparable.

    Args:
        evidence: for every key of `PARTS`.
        level: of the intervals.
        seed: of the resampling.
        resamples: how many.

    Raises:
        UserError: a part is missing.
    """
    _check(evidence)
    made = {name: _Sample(evidence[name]) for name in PARTS}
    images = np.unique(
        np.concatenate([one.index for one in made.values() if one.index is not None])
    )
    generator = np.random.default_rng(seed)
    drawn = {name: np.empty(resamples) for name in PARTS}
    for i in range(resamples):
        weight = np.bincount(generator.integers(0, len(images), len(images)), minlength=len(images))
        for name, one in made.items():
            drawn[name][i] = one.resampled(images, weight, generator)
    parts = tuple(
        ScoredPart(
            name, _interval(one.value(), drawn[name], level), *one.means(), n=len(one.measured)
        )
        for name, one in made.items()
    )
    total = np.mean([part.value.value for part in parts])
    # A resample in which one part is undefined says nothing about the score.
    means = np.mean([np.clip(values, 0, 1) for values in drawn.values()], axis=0)
    return MonitorabilityScore(_interval(float(total), means, level), parts)


class _Sample:
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

    def resampled(
        self, images: np.ndarray, weight: np.ndarray, generator: np.random.Generator
    ) -> float:
        """The part for images drawn `weight` times each, or for its own rows drawn anew."""
        n = len(self.measured)
        if not n:
            return float("nan")
        if self.failure and abs(self.value()) == 1:
            return self._separation_drawn(generator)
        if self.index is None and np.isin(self.measured, (0, 1)).all():
            return self._rate_drawn(generator)
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


def _interval(value: float, drawn: np.ndarray, level: float) -> Interval:
    """The estimate, clipped to [0, 1], with the normal interval of the bootstrap's spread.

    The normal one, because percentiles of few draws would need thousands of resamples.
    """
    if not np.isfinite(value):
        return Interval(*[float("nan")] * 3)
    half = stats.norm.ppf((1 + level) / 2) * np.nanstd(drawn, ddof=1)
    return Interval(*(float(np.clip(x, 0, 1)) + 0.0 for x in (value, value - half, value + half)))


def _check(evidence: Mapping[str, Evidence | FailureEvidence]) -> None:
    if missing := [name for name in PARTS if name not in evidence]:
        raise UserError(
            f"Expected evidence for every part of the score, but {', '.join(missing)} is missing: "
            "a mean of other parts would not be comparable."
        )
