"""Where on a curve of accuracies half of the accuracy is gone."""

from collections.abc import Sequence

import numpy as np

from callbacks.statistics.interval import Interval


def half_severity(
    values: Sequence[float],
    accuracies: Sequence[Interval],
    start: float,
) -> Interval | None:
    """The severity at which accuracy falls to half of what it was, only between measured ones.

    By a straight line between the last severity above the half and the next. The ends are where
    the curve's own lower and upper ends fall to it; not a number where they do so outside of what
    was measured. Add the undisturbed accuracy at severity 0 where that is a measured point.
    Measured coverage .97 to 1.

    Args:
        values: severities, ascending.
        accuracies: of each, with its interval.
        start: accuracy that is halved.

    Returns:
        None where half is already gone at the least severity, or still there at the largest.
    """
    where = [
        _falls(values, [end_value[end] for end_value in accuracies], start / 2) for end in range(3)
    ]
    if where[0] is None:
        return None
    middle, low, high = (float("nan") if end_value is None else end_value for end_value in where)
    return Interval(middle, low, high)


def _falls(values: Sequence[float], heights: Sequence[float], level: float) -> float | None:
    """Where a curve first falls to a level between two of its points."""
    below = np.flatnonzero(np.asarray(heights, float) <= level)
    if len(below) == 0 or below[0] == 0 or not np.isfinite(heights[below[0] - 1]):
        return None
    i = int(below[0])
    share = (heights[i - 1] - level) / (heights[i - 1] - heights[i])
    return float(values[i - 1] + share * (values[i] - values[i - 1]))
