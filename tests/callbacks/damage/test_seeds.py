"""Numbers over seeds that are nested."""

import math

import numpy as np
import pytest
from scipy import stats

from callbacks.damage.assessment import agreement, net_recovery, over_seeds, retained


def test_one_training_a_damage_is_scipys_t() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.05, 4)
    found = over_seeds([[one] for one in values])
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert found == pytest.approx((values.mean(), expected.low, expected.high))


def test_trainings_of_one_damage_do_not_count_as_independent() -> None:
    """Equal trainings add nothing: the spread is that of the damages, whatever their number."""
    damages = [0.2, 0.5, 0.9, 0.6, 0.4]
    one, many = (over_seeds([[d] * n for d in damages]) for n in (1, 20))
    assert many == pytest.approx(one)


def test_nested_seeds_hold() -> None:
    """Three damages with two trainings each: a bootstrap of so few covers 70 %."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(4000, 3, 1)) + random.normal(size=(4000, 3, 2))
    found = [over_seeds(table) for table in numbers]
    held = np.mean([one.low <= 0 <= one.high for one in found])
    assert held == pytest.approx(0.95, abs=0.011)  # 3 standard errors


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
