"""One-sided tests with a margin, against sums by hand and against chance."""

import math

import numpy as np
import pytest
from scipy import stats

from callbacks.statistics import smallest_drop, worse_by


def answers(n: int, broken: int, fixed: int) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.ones(n, bool), np.ones(n, bool)
    other[:broken] = False
    one[broken : broken + fixed] = False
    return one, other


@pytest.mark.parametrize(("broken", "fixed"), [(0, 0), (5, 0), (9, 3), (3, 9), (40, 30)])
def test_without_a_margin_it_is_a_sum_of_fair_coins(broken: int, fixed: int) -> None:
    n = broken + fixed
    by_hand = sum(math.comb(n, k) for k in range(broken, n + 1)) / 2**n
    assert worse_by(*answers(200, broken, fixed)) == pytest.approx(by_hand)


def test_with_a_margin_it_is_the_largest_trinomial_tail() -> None:
    n, broken, fixed, margin = 30, 9, 2, 0.1
    lead, found = broken - fixed, 0.0
    low, high = stats.binomtest(broken + fixed, n).proportion_ci(1 - 1e-4)
    for pairs in np.linspace(max(margin, low), high, 60):
        b, f = (pairs + margin) / 2, (pairs - margin) / 2
        counts = [
            (i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i) if i >= j + lead
        ]
        found = max(found, stats.multinomial.pmf(counts, n, (b, f, 1 - b - f)).sum())
    assert worse_by(*answers(n, broken, fixed), margin) == pytest.approx(found + 1e-4, abs=2e-4)


def drawn(n: int, broken: float, fixed: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    kind = np.random.default_rng(seed).choice(3, n, p=[broken, fixed, 1 - broken - fixed])
    return kind != 1, kind != 0


@pytest.mark.parametrize("margin", [0.0, 0.02])
@pytest.mark.parametrize("n", [60, 500])
def test_the_level_holds_at_the_edge(n: int, margin: float) -> None:
    pairs = max(0.08, margin)
    sides = (pairs + margin) / 2, (pairs - margin) / 2
    alarms = sum(worse_by(*drawn(n, *sides, seed), margin) <= 0.05 for seed in range(200))
    assert stats.binomtest(alarms, 200, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.parametrize(("n", "margin"), [(500, 0.0), (2000, 0.0), (2000, 0.02)])
def test_the_drop_that_is_told_is_found_four_times_in_five(n: int, margin: float) -> None:
    pairs, level = 0.1, 0.01
    drop = smallest_drop(n, pairs * n, level, margin)
    sides = (pairs + drop) / 2, (pairs - drop) / 2
    found = np.mean([worse_by(*drawn(n, *sides, s), margin) <= level for s in range(150)])
    assert found == pytest.approx(0.8, abs=0.1)


def test_few_samples_find_nothing() -> None:
    assert math.isinf(smallest_drop(3, 0, 0.01))
    assert math.isinf(smallest_drop(0, 0, 0.05))
    assert worse_by(np.ones(3), np.zeros(3)) == pytest.approx(1 / 8)
