"""One kind of data under one interval, for the simulation of how often intervals hold."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from callbacks.statistics import Interval

Sampler = Callable[[np.random.Generator, int], Interval]


@dataclass(frozen=True)
class Case:
    """One kind of data under one interval.

    Args:
        interval: name of the function.
        setting: what the data are.
        truth: what the interval should hold.
        sample: draws n samples and takes their interval.
        cost: how much slower than others, so that it is repeated less.
    """

    interval: str
    setting: str
    truth: float
    sample: Sampler = field(repr=False)
    cost: int = 1

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.interval}: {self.setting}"


def logistic(mean: np.ndarray | float) -> np.ndarray:
    """Chance of success."""
    return 1 / (1 + np.exp(-np.asarray(mean)))
