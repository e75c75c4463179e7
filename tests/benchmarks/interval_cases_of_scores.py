"""Calibration, ranking and risk: what their intervals are tried on."""

from collections.abc import Callable, Iterable
from functools import cache, partial

import numpy as np
from interval_case import Case, logistic
from scipy import stats

from callbacks import statistics as s
from callbacks.statistics import Interval


def cases() -> Iterable[Case]:
    """All of this file."""
    for make in (_eces, _aurocs, _aurcs):
        yield from make()


CONFIDENCES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "high": lambda g, n: np.clip(0.3 + 0.7 * g.beta(5, 0.8, n), 0.1, 1),
    "even": lambda g, n: g.uniform(0.3, 1, n),
    "sure": lambda g, n: 1 - 0.9 * g.beta(0.2, 6, n),
}
RIGHT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "calibrated": lambda c: c,
    "over by .02": lambda c: c - 0.02,
    "over by .05": lambda c: c - 0.05,
    "over by .2": lambda c: c - 0.2,
    "under by .1": lambda c: np.minimum(c + 0.1, 1),
    "wavy": lambda c: np.clip(c + 0.1 * np.sin(20 * c), 0, 1),
    "over above .9": lambda c: np.where(c > 0.9, c - 0.2, c),
    "always .3": lambda c: np.full_like(c, 0.3),
    "logits doubled": lambda c: 1 / (1 + ((1 - c) / c) ** 0.5),
}


def _ece(g: np.random.Generator, n: int, confidence: str, right: str) -> Interval:
    c = CONFIDENCES[confidence](g, n)
    return s.ece_interval(c, g.random(n) < RIGHT[right](c), resamples=300)


@cache
def ece_truth(confidence: str, right: str) -> float:
    """Of a million confidences and their exact chances; its error is below .0005."""
    c = CONFIDENCES[confidence](np.random.default_rng(7), 1_000_000)
    place = np.clip(np.ceil(15 * c).astype(int) - 1, 0, 14)
    return float(np.abs(np.bincount(place, np.clip(RIGHT[right](c), 0, 1) - c)).sum() / len(c))


def _eces() -> Iterable[Case]:
    for confidence, right in (
        ("high", "calibrated"), ("even", "calibrated"), ("sure", "calibrated"),
        ("sure", "over by .02"), ("high", "over by .05"), ("even", "over by .05"),
        ("even", "over by .2"), ("even", "under by .1"), ("even", "wavy"),
        ("even", "over above .9"), ("even", "always .3"), ("high", "logits doubled"),
    ):  # fmt: skip
        truth = 0.0 if right == "calibrated" else ece_truth(confidence, right)
        sample = partial(_ece, confidence=confidence, right=right)
        yield Case("ece_interval", f"{right}, {confidence} confidences", truth, sample, 4)


def _scores(g: np.random.Generator, shape: str, size: int, area: float) -> np.ndarray:
    """Scores of positives, against which standard normal or exponential negatives lose."""
    if shape == "exponential":
        return g.exponential(area / (1 - area), size)
    if shape == "mixed":  # some far above, the others like the negatives
        return g.normal(size=size) + 20 * (g.random(size) < 2 * area - 1)
    spread = 3.0 if shape == "wide" else 1.0
    return spread * g.normal(size=size) + np.hypot(1, spread) * stats.norm.ppf(area)


def _auroc(g: np.random.Generator, n: int, shape: str, share: float, area: float) -> Interval:
    few = max(2, round(share * n))
    others = g.exponential(size=n - few) if shape == "exponential" else g.normal(size=n - few)
    scores = np.concatenate([_scores(g, shape, few, area), others])
    return s.auroc_interval(scores, np.arange(n) < few)


def _aurocs() -> Iterable[Case]:
    for share in (0.5, 0.1):
        for shape in ("normal", "wide", "exponential", "mixed"):
            for area in (0.7, 0.9, 0.99):
                sample = partial(_auroc, shape=shape, share=share, area=area)
                setting = f"{100 * share:.0f} % positive, {shape} scores, area {area}"
                yield Case("auroc_interval", setting, area, sample)


def _errors(g: np.random.Generator, n: int, base: float, slope: float) -> np.ndarray:
    """`(2, n)` confidence and correctness, of which the first tells the second."""
    x = g.normal(size=n)
    return np.stack([x, g.random(n) < logistic(base + slope * x)])


@cache
def _aurc_truth(base: float, slope: float) -> float:
    return s.aurc(*_errors(np.random.default_rng(7), 2_000_000, base, slope))


def _aurc(g: np.random.Generator, n: int, base: float, slope: float) -> Interval:
    return s.aurc_interval(*_errors(g, n, base, slope))


def _aurcs() -> Iterable[Case]:
    for base, slope in ((0, 0), (0, 2), (2, 0), (2, 1), (4, 1), (6, 3), (-2, 1)):
        truth = _aurc_truth(base, slope)
        wrong = 1 - _errors(np.random.default_rng(7), 100_000, base, slope)[1].mean()
        setting = f"{100 * wrong:.0f} % wrong, AURC {truth:.3f}"
        yield Case("aurc_interval", setting, truth, partial(_aurc, base=base, slope=slope))
