"""The whole gate raises no more false alarms than stated, and finds what it says it finds."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """`tests/benchmarks/gate_false_alarms.py`, which runs 1,000 studies a case."""
    file = Path(__file__).parents[2] / "benchmarks" / "gate_false_alarms.py"
    spec = importlib.util.spec_from_file_location("gate_false_alarms", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_no_more_false_alarms_than_stated(simulation: ModuleType, margin: float) -> None:
    studies = 100 if margin else 300
    count = simulation.alarms(simulation.Case(512, 3, 0.8, margin), studies)
    assert stats.binomtest(count, studies, 0.05, alternative="greater").pvalue > 0.01


def test_a_drop_of_five_points_is_found(simulation: ModuleType) -> None:
    count = simulation.alarms(simulation.Case(5000, 3, 0.8), 60, drop=0.05, seed=1)
    assert count >= 55


def test_the_simulated_models_are_as_right_as_stated(simulation: ModuleType) -> None:
    random = np.random.default_rng(0)
    pairs = simulation.drawn(simulation.Case(200_000, 2, 0.8, 0.02), random, 0.05)
    means = [(pair.one.mean(), pair.other.mean()) for pair in pairs]
    assert np.array(means) == pytest.approx(np.array([(0.95, 0.93), (0.85, 0.78)]), abs=0.004)
