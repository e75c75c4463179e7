import math

import pytest

from callbacks.words import DASH, amount


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (640, "640"), (12_800, "12.8k"), (294_400_000, "294M"), (1.93e9, "1.93G"),
        (2.1e12, "2.1T"), (2e15, "2,000T"), (-2e6, "-2M"), (math.nan, DASH), (math.inf, DASH),
    ],
)  # fmt: skip
def test_amounts_are_short_and_have_a_sign(value: float, text: str) -> None:
    assert amount(value) == text
