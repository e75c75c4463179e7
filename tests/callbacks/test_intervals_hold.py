"""How often intervals hold the truth, by simulation; `docs/intervals.md` is the whole table."""

import importlib
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

LEAST: dict[tuple[str, str], dict[int, float]] = {}
"""Where less than 93 % hold, as the docstrings say: by interval and kind of data, from n on."""


@cache
def simulation() -> Any:
    """The module of the simulation, which lies beside the other benchmarks."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("interval_coverage")
    finally:
        sys.path.remove(str(BENCHMARKS))


@cache
def cases() -> dict[str, list[Any]]:
    """All kinds of data by the name of the interval."""
    by_interval = defaultdict(list)
    for case in simulation().cases():
        by_interval[case.interval].append(case)
    return by_interval


INTERVALS = (
    "rate", "mean, bounded", "mean", "crossed_mean", "paired_difference", "ratio", "ece_interval",
    "auroc_interval", "aurc_interval", "macro recall", "macro precision", "macro f1",
    "macro change",
)  # fmt: skip


def test_every_interval_is_simulated() -> None:
    assert set(cases()) == set(INTERVALS)


@pytest.mark.parametrize("interval", INTERVALS)
def test_intervals_hold_at_50_samples(interval: str) -> None:
    """A few repeats of many kinds of data: together they tell 55 % from 95 %, and 90 % too."""
    every = 2 if interval == "ece_interval" else 1  # it takes ten times as long as others
    found = [simulation().simulate(case, 50, 100) for case in cases()[interval][::every]]
    found = [one for one in found if one.repeats]
    repeats = sum(one.repeats for one in found)
    silent = sum(one.repeats * one.unmarked_misses for one in found) / repeats
    # 3 standard errors of so many repeats below .93
    assert 1 - silent >= 0.93 - 3 * (0.93 * 0.07 / repeats) ** 0.5
    assert min(one.holds for one in found) >= 0.8
