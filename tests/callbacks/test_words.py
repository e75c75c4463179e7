import math

import pytest

from callbacks.words import DASH, amount, ends, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (640, "640"), (12_800, "12.8k"), (294_400_000, "294M"), (1.93e9, "1.93G"),
        (2.1e12, "2.1T"), (2e15, "2,000T"), (-2e6, "-2M"), (math.nan, DASH), (math.inf, DASH),
    ],
)  # fmt: skip
def test_amounts_are_short_and_have_a_sign(value: float, text: str) -> None:
    assert amount(value) == text


def test_what_is_rounded_to_nothing_has_no_sign_and_minus_meets_no_dash() -> None:
    assert [number(value, 2) for value in (-0.001, -0.01, 0.0)] == ["0.00", "-0.01", "0.00"]
    assert (ends(0.1, 0.2, 1, 1), ends(-0.2, -0.1, 1, 1)) == (f"0.1{DASH}0.2", "-0.2 to -0.1")
