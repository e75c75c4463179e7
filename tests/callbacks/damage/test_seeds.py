"""Numbers over seeds that are nested."""

import math

import numpy as np
import pytest
from scipy import stats

from callbacks.damage.assessment import agreement, net_recovery, over_seeds, retained


def test_one_training_a_damage_is_the_bootstrap_of_scipy() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.05, 40)
    found = over_seeds([[one] for one in values], resamples=10_000)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        method="percentile",
        n_resamples=10_000,
        random_state=np.random.default_rng(1),
    ).confidence_interval
    # 0.002: two Monte Carlo quantiles of a standard error of 0.008
    assert found[1:] == pytest.approx((expected.low, expected.high), abs=0.002)
    assert found.value == pytest.approx(values.mean())


def test_trainings_of_one_damage_do_not_count_as_independent() -> None:
    """Equal trainings add nothing: the spread is that of the damages, whatever their number."""
    damages = [0.2, 0.5, 0.9, 0.6, 0.4]
    one, many = (over_seeds([[d] * n for d in damages]) for n in (1, 20))
    # Monte Carlo noise of 2000 resamples
    assert many[1:] == pytest.approx(one[1:], abs=0.03)
    assert over_seeds([damages, damages]).low < over_seeds([[0.52]] * 2).low


def test_few_seeds() -> None:
    assert math.isnan(over_seeds([]).value)
    only = over_seeds([[0.5, 0.7, math.nan], []])
    assert only.value == pytest.approx(0.6)
    assert math.isnan(only.low)


def test_small_numbers() -> None:
    assert agreement([1, 2, 3, 4], [1, 2, 0, 4]) == 0.75
    assert retained(0.92, 0.91) == pytest.approx(0.989130, abs=1e-6)  # reference 4.3
    assert math.isnan(retained(0.0, 0.5))
    assert net_recovery(0.91, 0.93) == pytest.approx(-0.02)
