"""How much a model's performance varies over the data sets it is moved to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from callbacks.statistics import Interval, student


class Variability(NamedTuple):
    """Indices over tasks.

    Args:
        average: mean over tasks, with Student's interval over tasks, which are few.
        spread: standard deviation between tasks; NaN of one.
        worst: lowest accuracy of a task.
        worst_task: its name.
        seed_spread: root mean square over tasks of the standard deviation between seeds.
    """

    average: Interval
    spread: float
    worst: float
    worst_task: str
    seed_spread: float


def variability(accuracy: Mapping[str, Sequence[float]]) -> Variability:
    """Summarises accuracies by task; every task weighs the same, whatever its size (as in VTAB).

    Args:
        accuracy: for every task those of its seeds, at least one.
    """
    means = {task: float(np.mean(values)) for task, values in accuracy.items()}
    worst = min(means, key=lambda task: means[task])
    several = [np.var(values, ddof=1) for values in accuracy.values() if len(values) > 1]
    return Variability(
        average=student(list(means.values())),
        spread=float(np.std(list(means.values()), ddof=1)) if len(means) > 1 else float("nan"),
        worst=means[worst],
        worst_task=worst,
        seed_spread=float(np.mean(several) ** 0.5) if several else float("nan"),
    )
