"""How numbers are written, the same in the report, the figures and the terminal."""

import math

from callbacks.statistics import Interval

DASH = "\N{EN DASH}"


def percent(value: float, digits: int = 1) -> str:
    """A rate in per cent, or a dash for what is not a number."""
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else DASH


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash for what is none."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else DASH


def ends(low: float, high: float, scale: float = 1, digits: int = 3) -> str:
    """Both ends of an interval, or nothing where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{scale * low:,.{digits}f}{DASH}{scale * high:,.{digits}f}"


def rate_with_ends(rate: Interval) -> str:
    """`99.1 [98.8, 99.2]`, in per cent."""
    if not math.isfinite(rate.value):
        return DASH
    return f"{100 * rate.value:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def radius(value: float, unit: str) -> str:
    """A severity: as k/255 where it is whole grey levels of an L∞ ball, else in three digits."""
    levels = 255 * value
    whole = 1 <= round(levels) <= 64 and math.isclose(levels, round(levels), abs_tol=1e-6)
    return f"{round(levels)}/255" if "∞" in unit and whole else f"{value:.3g}"
