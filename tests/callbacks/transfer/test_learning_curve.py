"""Learning curves carried on: against scipy, and the coverage of the interval on simulated ones."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from callbacks.transfer import PowerLaw, sufficiency
from callbacks.transfer.learning_curve import fit_power_law

SIZES = (20, 50, 100, 200, 500)


@pytest.mark.parametrize("law", [(0.05, 1.5, 0.6), (0.0, 0.9, 0.3), (0.2, 8.0, 1.1)])
def test_the_fit_is_that_of_scipy(law: tuple[float, float, float]) -> None:
    """`curve_fit` with the same weights and bounds, on errors with noise."""
    sizes, generator = np.array([20.0, 50, 100, 200, 500, 1000]), np.random.default_rng(0)
    error = law[0] + law[1] * sizes ** -law[2] + 0.003 * generator.standard_normal(6)
    sigma = np.array([0.01, 0.01, 0.008, 0.006, 0.005, 0.004])

    def curve(n: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
        return a + b * n**-c

    bounds = ([0, 0, 0.05], [1, np.inf, 3])
    theirs, _ = curve_fit(curve, sizes, error, (0.05, 1, 0.5), sigma, bounds=bounds)
    a, b, c, left = fit_power_law(sizes, error[None], 1 / sigma**2)[0]
    wanted = (((curve(sizes, *theirs) - error) / sigma) ** 2).sum()
    assert left <= wanted + 0.01  # a grid of exponents 3 % apart
    np.testing.assert_allclose(curve(sizes, a, b, c), curve(sizes, *theirs), atol=5e-4)


def test_without_noise_the_law_comes_back() -> None:
    law = PowerLaw(0.03, 1.2, 0.5)
    n = np.array(SIZES, float)
    a, b, c, _ = fit_power_law(n, np.asarray(law.error(n))[None], np.ones(5))[0]
    found = PowerLaw(float(a), float(b), float(c))
    assert found.samples(0.06) == pytest.approx(law.samples(0.06), rel=0.1)  # the grid
    assert law.samples(0.06) == pytest.approx(1600)  # (1.2 / 0.03)^2
    assert law.samples(0.03) == np.inf


def simulated(
    law: PowerLaw, generator: np.random.Generator, sizes: tuple[int, ...] = SIZES,
    draws: int = 3, images: int = 1000, spread: float = 0.03,
) -> dict[int, np.ndarray]:  # fmt: skip
    """Hits of draws that share half of what makes an image hard."""
    hard, hits = generator.random(images), {}
    for n in sizes:
        error = float(law.error(n))
        shown = error + spread * np.sqrt(error * (1 - error)) * generator.standard_normal(draws)
        alike = generator.random((draws, images)) < 0.5
        hits[n] = np.where(alike, hard, generator.random((draws, images))) >= shown[:, None]
    return hits


def test_the_interval_covers() -> None:
    """95 %, and not by telling nothing; 50 simulated curves whose answer is 1,055 images."""
    law, generator = PowerLaw(0.0, 0.8, 0.35), np.random.default_rng(0)
    found = [sufficiency(simulated(law, generator), 0.93, resamples=150) for _ in range(50)]
    told = [x.samples for x in found if not x.refused]
    assert len(told) > 30
    covered = np.mean([x.low <= law.samples(0.07) <= x.high for x in told])
    assert covered >= 0.88  # 95 % less two standard errors of 50
    assert np.median([x.value for x in told]) == pytest.approx(law.samples(0.07), rel=0.3)


REFUSED = {
    "reached": (PowerLaw(0.0, 0.8, 0.5), {}, 0.85, "reached with 50 labelled images"),
    "too few sizes": (PowerLaw(0.1, 1, 0.5), {"sizes": (20, 50, 100)}, 0.95, "3 sizes"),
    "one draw": (PowerLaw(0.1, 1, 0.5), {"draws": 1}, 0.95, "at least 2 --seeds"),
    "nothing learnt": (PowerLaw(0.5, 0.0, 0.5), {}, 0.95, "have not helped"),
    "far": (
        PowerLaw(0.0, 0.9, 0.15),
        {"images": 50000, "draws": 5, "spread": 0.001},
        0.95,
        "ten times",
    ),
    "level": (PowerLaw(0.2, 3.0, 1.0), {"images": 20000, "draws": 5}, 0.95, "do not do it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_number_is_told_of(case: str) -> None:
    law, options, wanted, said = REFUSED[case]
    hits = simulated(law, np.random.default_rng(1), **options)  # type: ignore[arg-type]
    found = sufficiency(hits, wanted, resamples=100)
    assert said in found.refused
    assert np.isnan(found.samples.value)


def test_no_power_law_is_seen() -> None:
    """An error that rises again."""
    generator, errors = np.random.default_rng(0), (0.5, 0.2, 0.45, 0.15, 0.3)
    hits = {n: generator.random((4, 5000)) >= e for n, e in zip(SIZES, errors, strict=True)}
    assert "do not follow a power law" in sufficiency(hits, 0.95, resamples=50).refused
