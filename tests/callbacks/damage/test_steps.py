import pytest

from callbacks.damage.kind import steps


@pytest.mark.parametrize(
    ("severities", "unit", "expected"),
    [
        ((1, 10, 100), "flipped bits", [1, 10, 100]),
        ((8, 4, 3), "bits left", [8, 4, 3]),
        ((0.1, 0.3, 1.0), "share of weights", [100, 300, 1000]),
        ((1.0,), "share of weights", [1000]),  # the same as in a longer grid
        ((0.3, 1, 2), "relative deviation", [300, 1000, 2000]),
        ((1e-5, 1e-4, 1e-3), "bit error rate", [1, 2, 3]),
    ],
)
def test_steps_of_a_chart(severities: tuple[float, ...], unit: str, expected: list[int]) -> None:
    assert steps(severities, unit) == expected
