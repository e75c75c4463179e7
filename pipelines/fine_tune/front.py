"""Clean against robust accuracy over the values of a weight, and which value is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from callbacks.reductions import accuracy
from callbacks.statistics import Interval, paired_difference


@dataclass(frozen=True)
class Point:
    """What a training with one value of the weight reaches.

    Args:
        value: of the weight.
        rows: a line for each validation image: `index`, `clean` and `robust`, 1 where right.
    """

    value: float
    rows: pd.DataFrame

    def of(self, column: str) -> Interval:
        """Accuracy, `clean` or `robust`, with its interval."""
        return accuracy(self.rows.assign(correct=self.rows[column]))


@dataclass(frozen=True)
class Choice:
    """The value that is taken, and why.

    Args:
        value: of the weight.
        most_robust: the value of the largest robust accuracy.
        as_robust: values whose robust accuracy is no worse than that beyond the noise.
    """

    value: float
    most_robust: float
    as_robust: Sequence[float]


def chosen(points: Sequence[Point]) -> Choice:
    """Takes the most accurate of those that are as robust as the best, within the noise.

    As robust is what the 95 % interval of the paired difference does not tell from the most robust;
    of equal accuracies the smaller weight.

    Args:
        points: at least one, all of the same images.
    """
    best = max(points, key=lambda point: (point.of("robust").value, -point.value))
    alike = [
        point
        for point in points
        if point is best or paired_difference(point.rows["robust"], best.rows["robust"]).low <= 0
    ]
    taken = max(alike, key=lambda point: (point.of("clean").value, -point.value))
    return Choice(taken.value, best.value, [point.value for point in alike])


def in_front(points: Sequence[Point]) -> list[bool]:
    """Of each point, whether no other is at least as good in both and better in one."""
    at = np.array([[point.of(name).value for name in ("clean", "robust")] for point in points])
    return [not any((at >= here).all(1) & (at > here).any(1)) for here in at]
