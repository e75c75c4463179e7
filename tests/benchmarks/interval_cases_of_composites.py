"""Numbers made of several others, and ranks: what their intervals are tried on."""

from collections.abc import Iterable
from functools import partial

import numpy as np
from interval_case import Case, logistic
from interval_cases_of_scores import CONFIDENCES, RIGHT, ece_truth

from callbacks import statistics as s
from callbacks.statistics import Interval
from pipelines.compare.leaderboard import rank_intervals, resampled_means


def cases() -> Iterable[Case]:
    """All of this file."""
    for make in (_students, _means_of, _draws, _halves, _ranks):
        yield from make()


def _students() -> Iterable[Case]:
    """A mean over few trainings, as tables of recoveries and transfers have it."""
    for seeds, rate, spread in ((3, 0.9, 0.02), (5, 0.9, 0.02), (5, 0.6, 0.0), (10, 0.98, 0.005)):
        setting = f"accuracy of {seeds} seeds, {rate} with sd {spread}"
        yield Case("student", setting, rate, partial(_of_seeds, seeds=seeds, at=rate, sd=spread))


def _of_seeds(g: np.random.Generator, n: int, seeds: int, at: float, sd: float) -> Interval:
    apart = sd * np.sqrt(3) * g.uniform(-1, 1, seeds)  # uniform, so that no rate exceeds 1
    return s.student(g.binomial(n, at + apart) / n)


def _means_of() -> Iterable[Case]:
    """Of tasks: each on its own images, or all on the same ones."""
    for rates in ((0.99, 0.9, 0.6), (0.995, 0.99)):
        for independent in (True, False):
            told = "each on its own images" if independent else "all on the same"
            setting = f"rates {' '.join(map(str, rates))}, {told}"
            sample = partial(_mean_of_rates, rates=rates, independent=independent)
            yield Case("mean_of", setting, float(np.mean(rates)), sample)


def _mean_of_rates(
    g: np.random.Generator, n: int, rates: tuple[float, ...], independent: bool
) -> Interval:
    drawn = g.random((len(rates) if independent else 1, n)) < np.array(rates)[:, None]
    return s.mean_of([s.rate(int(one.sum()), n) for one in drawn], independent)


def _draws() -> Iterable[Case]:
    """An error of calibration under several random draws of a disturbance, on the same images."""
    for right in ("calibrated", "over by .2"):
        sample = partial(_ece_of_draws, right=right)
        truth = 0.0 if right == "calibrated" else ece_truth("even", right)
        yield Case("over_draws", f"ece of 3 draws, {right}, even confidences", truth, sample, 8)


def _ece_of_draws(g: np.random.Generator, n: int, right: str) -> Interval:
    confidence = CONFIDENCES["even"](g, n)
    chance = RIGHT[right](confidence)
    found = [s.ece_interval(confidence, g.random(n) < chance, resamples=300) for _ in range(3)]
    return s.over_draws(found)


def _halves() -> Iterable[Case]:
    """Where half of the accuracy is gone, of images that each stand up to a severity."""
    for middle, steep in ((2.4, 1.5), (3.6, 4.0)):
        severities = np.arange(6.0)
        heights = [Interval(*[float(x)] * 3) for x in logistic(steep * (middle - severities))]
        half = s.half_severity(list(severities), heights, heights[0].value)
        assert half is not None
        sample = partial(_half, middle=middle, steep=steep)
        setting = f"half gone at {half.value:.2f} of 5, steepness {steep}"
        yield Case("half_severity", setting, half.value, sample)


def _half(g: np.random.Generator, n: int, middle: float, steep: float) -> Interval:
    stands = middle + g.logistic(size=n) / steep
    shares = [s.rate(int((stands > severity).sum()), n) for severity in range(6)]
    return s.half_severity(list(range(6)), shares, shares[0].value) or s.NOTHING


def _ranks() -> Iterable[Case]:
    """The third of five models on the same images."""
    for gap in (0.005, 0.02, 0.1):
        yield Case("rank", f"third of 5, {gap} apart", 3, partial(_rank, gap=gap), 8)


def _rank(g: np.random.Generator, n: int, gap: float) -> Interval:
    truth = 0.9 - gap * np.arange(5)
    own = np.where(g.random((n, 5)) < 0.5, g.random((n, 1)), g.random((n, 5)))
    values = (own < truth).astype(float)
    low, high = rank_intervals(values, resampled_means(values, int(g.integers(2**31)), 200))
    return Interval(3.0, float(low[2]), float(high[2]))
