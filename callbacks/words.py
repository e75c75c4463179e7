"""How numbers are written, the same in the report, the figures and the terminal."""

import math

from callbacks.statistics import Interval

DASH = "\N{EN DASH}"
NBSP = "\N{NO-BREAK SPACE}"


def percent(value: float, digits: int = 1) -> str:
    """A rate in per cent, or a dash for what is not a number."""
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else DASH


_HUGE = 1e9
"""From here on only the order of magnitude says something."""


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash for what is none; what is rounded to 0 has no sign."""
    if not math.isfinite(value):
        return DASH
    if abs(value) >= _HUGE:
        return f"{value:.1e}"
    text = f"{value:,.{digits}f}"
    return text if text.strip("-0.") else text.lstrip("-")


def amount(value: float) -> str:
    """A large number in short: 12.8k, 1.9G, 2,000T; a dash for what is none."""
    if not math.isfinite(value):
        return DASH
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:,.0f}{sign}" if abs(scaled) >= 100 else f"{scaled:.3g}{sign}"
    return f"{value:.0f}"


def ends(low: float, high: float, scale: float = 1, digits: int = 3) -> str:
    """Both ends of an interval, or nothing where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    between = " to " if low < 0 else DASH  # a dash beside a minus is hard to read
    return f"{number(scale * low, digits)}{between}{number(scale * high, digits)}"


def rate_with_ends(rate: Interval) -> str:
    """`99.1 [98.8, 99.2]`, in per cent."""
    if not math.isfinite(rate.value):
        return DASH
    if not (math.isfinite(rate.low) and math.isfinite(rate.high)):
        return percent(rate.value)
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def with_interval(share: Interval) -> str:
    """`95 % interval 98.8–99.2`, in per cent, for sentences."""
    return said_interval(share, 100, 1)


def said_interval(found: Interval, scale: float = 1, digits: int = 3) -> str:
    """`95 % interval 0.12–0.18`, for sentences, or that the rows do not tell one."""
    both = ends(found.low, found.high, scale, digits)
    return f"95 % interval {both}" if both else "too little to tell an interval"


def with_mark(note: str, found: Interval) -> str:
    """A note, and what makes the interval doubtful where something does."""
    return f"{note}; {found.mark}" if found.mark else note


def radius(value: float, unit: str) -> str:
    """A severity: in grey levels of 255 where it is small and of the L∞ kind, else three digits."""
    levels = round(255 * value, 6)
    usual = levels == round(levels) if levels >= 3 else 4 * levels == round(4 * levels)
    return f"{levels:g}/255" if "∞" in unit and usual and 0 < levels <= 32 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`: a time that is predicted, so not to the second."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
