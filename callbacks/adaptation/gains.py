"""What an adaptation changes against the network as it is, cell by cell and image by image."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from callbacks.results import ProbeResult
from callbacks.statistics import Interval, holm, mcnemar, mean, paired_difference

LEVEL = 0.05
"""Of significance, after Holm's correction for the cells."""


@dataclass(frozen=True)
class Gains:
    """Paired differences of accuracy, adapted minus not adapted, over the same images.

    Args:
        result: of the adaptation.
        base: of the network as it is.
    """

    result: ProbeResult
    base: ProbeResult

    @property
    def cells(self) -> list[str]:
        """What they are called, the clean one first."""
        return [self.result.places[str(step)] for step in self.result.values]

    @cached_property
    def images(self) -> np.ndarray:
        """Indices of the images, ascending."""
        return np.unique(self.result.rows["index"].to_numpy("int64"))

    @cached_property
    def _pairs(self) -> np.ndarray:
        """`(2, cells, images)` whether right: as it is, and adapted."""
        tables = [
            one.rows.pivot(index="severity", columns="index", values="correct").loc[
                list(self.result.values), self.images
            ]
            for one in (self.base, self.result)
        ]
        return np.stack([table.to_numpy(float) for table in tables])

    @cached_property
    def batches(self) -> np.ndarray:
        """Number of the batch in which each of `images` was answered."""
        together = self.result.rows.drop_duplicates("index").set_index("index")["batch"]
        return together.loc[self.images].to_numpy()

    def of_cell(self, place: int) -> Interval:
        """The paired difference in one cell."""
        return paired_difference(*self._pairs[:, place])

    @cached_property
    def corrupted(self) -> Interval:
        """Mean over all cells but the clean one, which is averaged image by image first."""
        before, after = self._pairs[:, 1:]
        return mean((after - before).mean(0), bounds=(-1, 1))

    def beyond(self, other: "Gains") -> Interval:
        """By how much more is gained than by another on the same images and cells, paired."""
        both = (gains._pairs[1, 1:] for gains in (self, other))
        mine, theirs = (right.mean(0) for right in both)
        return mean(mine - theirs, bounds=(-1, 1))

    @cached_property
    def significant(self) -> list[int]:
        """-1, 0 or 1 a cell: worse, neither, better (McNemar's exact test, Holm over cells)."""
        before, after = self._pairs
        pairs = list(zip(before, after, strict=True))
        p = holm([mcnemar(one > 0.5, other > 0.5) for one, other in pairs])
        signs = [int(np.sign((other - one).sum())) for one, other in pairs]
        return [sign * int(value < LEVEL) for sign, value in zip(signs, p, strict=True)]


def gains_of(results: Sequence[ProbeResult], base: ProbeResult) -> list[Gains]:
    """Of every result on the same images and cells as the network as it is."""
    found = []
    for result in results:
        if result is base or not len(result.rows) or result.places != base.places:
            continue
        one, other = ({*rows["index"]} for rows in (result.rows, base.rows))
        if one == other and list(result.values) == list(base.values):
            found.append(Gains(result, base))
    return found
