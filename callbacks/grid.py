"""The answers under many disturbances and severities, side by side for every image."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from callbacks.results import ProbeResult
from callbacks.statistics import Interval, mean


class Grid:
    """A column of every image for every disturbance and severity that all of them have.

    The same images meet every disturbance, so what is told of the whole grid is first averaged over
    it image by image; its interval is over images. Disturbances are the ones named, not a sample of
    others.

    Args:
        results: of probes whose settings are severities of one disturbance.
    """

    def __init__(self, results: Sequence[ProbeResult]) -> None:
        self.results = [result for result in results if len(result.rows)]

    @property
    def names(self) -> list[str]:
        """Of the disturbances."""
        return [result.name for result in self.results]

    @cached_property
    def severities(self) -> list[float]:
        """Those that every disturbance was measured at."""
        sets = [set(result.values.values()) for result in self.results]
        return sorted(set.intersection(*sets)) if sets else []

    @property
    def steps(self) -> list[int]:
        """Of the severities in charts: themselves, or their places if some are not whole."""
        whole = all(severity == int(severity) for severity in self.severities)
        return [
            int(severity) if whole else place for place, severity in enumerate(self.severities, 1)
        ]

    @cached_property
    def images(self) -> np.ndarray:
        """Indices of the images that every cell has."""
        index, count = np.unique(self._rows["index"], return_counts=True)
        return index[count == len(self.names) * len(self.severities)]

    @cached_property
    def _rows(self) -> pd.DataFrame:
        rows = pd.concat([result.rows.assign(disturbance=result.name) for result in self.results])
        return rows.loc[rows["value"].isin(self.severities)]

    def cells(self, column: str) -> np.ndarray:
        """`(disturbances, severities, images)` of a column."""
        rows = self._rows.loc[self._rows["index"].isin(self.images)]
        table = rows.pivot(index=["disturbance", "value"], columns="index", values=column)
        shape = len(self.names), len(self.severities), len(self.images)
        order = [(name, value) for name in self.names for value in self.severities]
        return table.loc[order].to_numpy(float).reshape(shape)

    def over_all(self, column: str, bounds: tuple[float, float]) -> Interval:
        """Mean of a column over disturbances and severities, not weighted."""
        return mean(finite_mean(self.cells(column), (0, 1)), bounds=bounds)


def finite_mean(cells: np.ndarray, axes: int | tuple[int, ...]) -> np.ndarray:
    """Means along axes of what is finite: an answer that is none has no loss; NaN of nothing.

    >>> finite_mean(np.array([[1.0, np.inf], [3.0, np.nan]]), 0).tolist()
    [2.0, nan]
    """
    finite = np.isfinite(cells)
    count = finite.sum(axes)
    total = np.where(finite, cells, 0.0).sum(axes)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
