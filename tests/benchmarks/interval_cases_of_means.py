"""Rates, means, differences and ratios: what their intervals are tried on."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from interval_case import Case, logistic

from callbacks import statistics as s
from callbacks.statistics import Interval


def cases() -> Iterable[Case]:
    """All of this file."""
    for make in (
        _rates,
        _bounded_means,
        _unbounded_means,
        _medians,
        _crossed_means,
        _paired,
        _ratios,
    ):
        yield from make()


def _rates() -> Iterable[Case]:
    for p in (0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999):
        yield Case("rate", f"rate {p}", p, lambda g, n, p=p: s.rate(g.binomial(n, p), n))


def _brier(g: np.random.Generator, n: int, right: float) -> np.ndarray:
    wrong = np.minimum(0.5 + 1.5 * g.beta(2, 1.5, n), 2)
    return np.where(g.random(n) < right, 0.5 * g.beta(0.2, 4, n), wrong)


def _bounded_means() -> Iterable[Case]:
    shares: dict[str, tuple[float, Callable[[np.random.Generator, int], np.ndarray]]] = {
        "uniform": (0.5, lambda g, n: g.random(n)),
        "Beta(.2, 2)": (0.2 / 2.2, lambda g, n: g.beta(0.2, 2, n)),
        "Beta(.1, 5)": (0.1 / 5.1, lambda g, n: g.beta(0.1, 5, n)),
        "5 draws an image, mean .09": (
            0.3 / 3.3,
            lambda g, n: g.binomial(5, g.beta(0.3, 3, n)) / 5,
        ),
    }
    for name, (truth, draw) in shares.items():
        yield Case("mean, bounded", name, truth, partial(_mean_of, draw=draw, bounds=(0, 1)), 2)
    for right in (0.7, 0.95):
        truth = right * 0.5 * 0.2 / 4.2 + (1 - right) * (0.5 + 1.5 * 2 / 3.5)
        draw = partial(_brier, right=right)
        setting = f"Brier scores, {100 * right:.0f} % right"
        yield Case("mean, bounded", setting, truth, partial(_mean_of, draw=draw, bounds=(0, 2)), 2)


def _mean_of(
    g: np.random.Generator,
    n: int,
    draw: Callable[[np.random.Generator, int], np.ndarray],
    bounds: tuple[float, float] = s.UNBOUNDED,
) -> Interval:
    return s.mean(draw(g, n), bounds=bounds)


def _cross_entropy(g: np.random.Generator, n: int, right: float) -> np.ndarray:
    """Small where right, of 2.5 nats on average where wrong."""
    wrong = 0.7 + g.gamma(1.5, 1.2, n)
    return np.where(g.random(n) < right, g.gamma(0.3, 0.2, n), wrong)


def _unbounded_means() -> Iterable[Case]:
    values: dict[str, tuple[float, Callable[[np.random.Generator, int], np.ndarray]]] = {
        "normal": (0.0, lambda g, n: g.normal(size=n)),
        "exponential": (1.0, lambda g, n: g.exponential(size=n)),
        "gamma, shape .3": (0.3, lambda g, n: g.gamma(0.3, size=n)),
        "lognormal, sigma 1": (np.exp(0.5), lambda g, n: g.lognormal(size=n)),
        "lognormal, sigma 1.5": (np.exp(1.125), lambda g, n: g.lognormal(sigma=1.5, size=n)),
    }
    for right in (0.6, 0.9, 0.98):
        truth = right * 0.06 + (1 - right) * 2.5
        name = f"cross-entropy, {100 * right:.0f} % right"
        values[name] = (truth, partial(_cross_entropy, right=right))
    for name, (truth, draw) in values.items():
        yield Case("mean", name, truth, partial(_mean_of, draw=draw))


def _crossed(
    g: np.random.Generator, n: int, draws: int, mean: float, of_draws: float, of_images: float
) -> Interval:
    shift = of_draws * g.normal(size=(draws, 1)) + of_images * g.normal(size=(1, n))
    return s.crossed_mean((g.random((draws, n)) < logistic(mean + shift)).astype(float))


def _medians() -> Iterable[Case]:
    yield Case("median", "lognormal", 1.0, lambda g, n: s.median(g.lognormal(size=n)))
    yield Case("median", "lognormal, 40 % never found", 1.0, lambda g, n: s.median(_lost(g, n)))


def _lost(g: np.random.Generator, n: int) -> np.ndarray:
    """Distances, infinite beyond the 60th percentile."""
    values = g.lognormal(size=n)
    return np.where(values > np.exp(0.2533), np.inf, values)


def _crossed_means() -> Iterable[Case]:
    points = np.polynomial.hermite_e.hermegauss(80)
    for draws in (2, 3, 5, 10):
        for mean, of_draws, of_images in ((2, 0, 2), (2, 0.3, 2), (4.5, 0.3, 2), (0, 0.5, 1)):
            spread = np.hypot(of_draws, of_images)
            truth = float(points[1] @ logistic(mean + spread * points[0]) / points[1].sum())
            setting = f"{draws} draws, rate {truth:.2f}, draws' sd {of_draws}, images' {of_images}"
            sample = partial(
                _crossed, draws=draws, mean=mean, of_draws=of_draws, of_images=of_images
            )
            yield Case("crossed_mean", setting, truth, sample)


def _pair(g: np.random.Generator, n: int, both: float, one: float, other: float) -> np.ndarray:
    """`(2, n)` answers: both right, only the first, only the second, none."""
    counts = g.multinomial(n, [both, one, other, 1 - both - one - other])
    return np.repeat([[1.0, 1, 0, 0], [1, 0, 1, 0]], counts, axis=1)


def _paired() -> Iterable[Case]:
    for both, one, other in (
        (0.9, 0.005, 0.005), (0.9, 0.02, 0.01), (0.8, 0.0, 0.1), (0.85, 0.05, 0.02),
        (0.4, 0.1, 0.1), (0.5, 0.2, 0.05), (0.2, 0.3, 0.3),
    ):  # fmt: skip
        sample = partial(_difference, both=both, one=one, other=other)
        setting = f"right alone {one} and {other}"
        yield Case("paired_difference", setting, other - one, sample)
    yield Case("paired_difference", "means of 3 draws, both .85", 0.0, _difference_of_draws, 2)
    for seeds, mean, of_seeds in ((3, 2.0, 0.3), (5, 2.0, 0.0), (5, 5.0, 0.3)):
        sample = partial(_difference_of_seeds, seeds=seeds, mean=mean, of_seeds=of_seeds)
        setting = f"{seeds} seeds, base {mean:g}, seeds' sd {of_seeds}"
        yield Case("crossed_difference", setting, 0.0, sample)
    yield Case("paired_difference", "losses, exponential, 10 % less", -0.1, _difference_of_losses)


def _difference_of_seeds(
    g: np.random.Generator, n: int, seeds: int, mean: float, of_seeds: float
) -> Interval:
    """Two models alike but for chance, each trained `seeds` times, on images of their own rate."""
    images = 2 * g.normal(size=(1, n))
    chances = [logistic(mean + images + of_seeds * g.normal(size=(seeds, 1))) for _ in range(2)]
    return s.crossed_difference(*(g.random((seeds, n)) < chance for chance in chances))


def _difference(g: np.random.Generator, n: int, both: float, one: float, other: float) -> Interval:
    return s.paired_difference(*_pair(g, n, both, one, other))


def _difference_of_draws(g: np.random.Generator, n: int) -> Interval:
    chance = g.beta(1.7, 0.3, n)
    return s.paired_difference(g.binomial(3, chance) / 3, g.binomial(3, chance) / 3)


def _difference_of_losses(g: np.random.Generator, n: int) -> Interval:
    loss = g.exponential(size=n)
    return s.paired_difference(loss, loss * g.uniform(0.8, 1.0, n), bounds=(0, np.inf))


def _ratios() -> Iterable[Case]:
    for both, one, other in (
        (0.88, 0.01, 0.02), (0.85, 0.02, 0.1), (0.6, 0.05, 0.3), (0.2, 0.1, 0.6), (0.02, 0, 0.9),
        (0.4, 0.1, 0.1),
    ):  # fmt: skip
        truth = (both + one) / (both + other)
        sample = partial(_ratio, both=both, one=one, other=other)
        yield Case("ratio", f"{truth:.2f} of {both + other:.2f}", truth, sample)


def _ratio(g: np.random.Generator, n: int, both: float, one: float, other: float) -> Interval:
    return s.ratio(*_pair(g, n, both, one, other))
