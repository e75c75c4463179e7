"""The worked example of the reference, 4.3, and its table of sample sizes, 1.4."""

import math

import pytest
import torch
from torch import nn

from callbacks.damage import SignFlip
from callbacks.damage import assessment as a
from callbacks.damage.injections import sample_size, silent_error_rate, until_known
from datamodules.errors import UserError

TIMES, ACC = [0, 1, 2, 3, 4, 5], [0.30, 0.70, 0.86, 0.84, 0.89, 0.91]

WORKED = [
    (a.accuracy_drop(0.92, 0.30), 0.673913),
    (a.severity(0.92, 0.30, 0.10), 0.756098),
    (a.recovery_ratio(0.92, 0.30, 0.91), 0.983871),
    (a.resilience_loss(TIMES, ACC, 0.92), 0.705),
    (a.resilience_loss(TIMES, ACC, 0.92, 0.30), 0.227419),
    (a.first_hit(TIMES, ACC, 0.93 * 0.92), 2),
    (a.sustained_time(TIMES, ACC, 0.93 * 0.92), 4),
]


@pytest.mark.parametrize(("found", "expected"), WORKED)
def test_worked_example(found: float, expected: float) -> None:
    assert found == pytest.approx(expected, abs=1e-6)


def test_never() -> None:
    assert a.sustained_time(TIMES, ACC, 0.99 * 0.92) is None


def test_inside_the_noise_there_is_no_ratio() -> None:
    assert a.recovery_ratio(0.90, 0.89, 0.90, drop_error=0.006) is None
    assert a.recovery_ratio(0.90, 0.90, 0.95) is None
    assert a.recovery_ratio(0.90, 0.89, 0.90, drop_error=0.004) == pytest.approx(1)
    assert a.recovery_ratio(1.0, 0.0, 1.0, math.nan) is None, "one image has no error"


def test_negative_flips() -> None:
    assert a.negative_flips([1, 1, 0, 0], [1, 0, 1, 0]) == 0.25


def test_a_curve_needs_two_points() -> None:
    with pytest.raises(UserError, match="at least two times"):
        a.resilience_loss([0], [0.5], 0.9)


@pytest.mark.parametrize(
    ("population", "error", "quantile", "expected"),
    [
        (1_974_592, 0.05, 1.96, 385), (1_974_592, 0.01, 1.96, 9_558),
        (1_974_592, 0.01, 2.576, 16_452), (2_157_776, 0.05, 1.96, 385),
        (2_157_776, 0.01, 1.96, 9_562), (2_157_776, 0.01, 2.576, 16_463),
        (374_064_384, 0.05, 1.96, 385), (374_064_384, 0.01, 1.96, 9_604),
        (374_064_384, 0.01, 2.576, 16_589),
    ],
)  # fmt: skip
def test_sample_size(population: int, error: float, quantile: float, expected: int) -> None:
    # The table rounds up in its first column and to the nearest in the others.
    assert sample_size(population, error, quantile) == pytest.approx(expected, abs=1)


def test_injections_stop_when_the_rate_is_known() -> None:
    interval, n = until_known((i % 10 == 0 for i in range(10_000)), 0.05)
    assert n < 400
    assert (interval.high - interval.low) / 2 <= 0.05
    assert until_known((False for _ in range(10)), 0.2, at_least=30)[1] == 10
    assert until_known((False for _ in range(100)), 0.2, at_least=30)[1] == 30


@pytest.mark.parametrize(("severity", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_injections_into_a_model_that_is_all_or_nothing(severity: float, expected: float) -> None:
    """With no sign turned every answer stays; with all the largest is the smallest."""
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    before = model.weight.clone()
    found = silent_error_rate(model, torch.rand(5, 2) + 0.1, SignFlip(), severity, 0.1)
    assert (found["sdc"], found["injections"]) == (expected, 30)
    assert found["needed"] == sample_size(4, 0.1)
    assert torch.equal(model.weight, before)
