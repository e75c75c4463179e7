"""The accuracy of clients, one by one and together, and paired differences of ways to learn."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from callbacks.statistics import Interval, mean, paired_difference, rate
from pipelines.federate.rounds import Arm


class Numbers:
    """Of all clients after the last round, on the same test images.

    Args:
        rows: by arm: a row for each round, client and test image.
        names: of the clients.
        counts: private images of each class, a list for every client.
    """

    def __init__(
        self,
        rows: Mapping[Arm, pd.DataFrame],
        names: Sequence[str],
        counts: Sequence[Sequence[int]],
    ) -> None:
        self.rows, self.names, self.counts = rows, list(names), counts

    def correct(self, arm: Arm, turn: int | None = None) -> np.ndarray:
        """`(clients, images)` right or wrong after a round, by default the last."""
        rows = self.rows[arm]
        rows = rows.loc[rows["round"] == (rows["round"].max() if turn is None else turn)]
        table = rows.pivot(index="client", columns="index", values="correct")
        return table.loc[self.names].to_numpy(float)

    @cached_property
    def label(self) -> np.ndarray:
        """`(images,)`, in ascending order of their indices."""
        rows = self.rows["federated"]
        return rows.drop_duplicates("index").sort_values("index")["label"].to_numpy()

    def accuracy(self, arm: Arm, client: int, seen: bool | None = None) -> Interval:
        """Of a client; of test images of classes that it has itself, has not, or of all."""
        right = self.correct(arm)[client]
        if seen is not None:
            has = np.asarray(self.counts[client])[self.label] > 0
            right = right[has == seen]
        return rate(int(right.sum()), len(right))

    def together(self, arm: Arm, turn: int | None = None) -> Interval:
        """Mean accuracy of the clients; images are what it is uncertain by."""
        return mean(self.correct(arm, turn).mean(0), bounds=(0.0, 1.0))

    def gain(self, one: Arm, other: Arm, client: int | None = None) -> Interval:
        """How much more accurate the other way is, paired by image; of a client or their mean."""
        first, second = self.correct(one), self.correct(other)
        if client is None:
            return paired_difference(first.mean(0), second.mean(0))
        return paired_difference(first[client], second[client])

    @property
    def turns(self) -> list[int]:
        """The rounds that were measured."""
        return sorted(map(int, self.rows["federated"]["round"].unique()))

    @cached_property
    def table(self) -> pd.DataFrame:
        """A line for each client, and one for their mean."""
        lines = [self._line(name, i) for i, name in enumerate(self.names)]
        return pd.DataFrame([*lines, self._line("mean of all", None)])

    def _line(self, name: str, client: int | None) -> dict[str, float | str]:
        line: dict[str, float | str] = {"client": name}
        for arm in self.rows:
            number = self.together(arm) if client is None else self.accuracy(arm, client)
            line |= number.columns(arm)
            for word, seen in (("own", True), ("other", False)):
                if client is not None:
                    part = self.accuracy(arm, client, seen)
                    line |= {f"{arm}_{word}": part.value}
        line |= self.gain("alone", "federated", client).columns("gain")
        line |= self.gain("federated", "pooled", client).columns("short")
        if client is not None:
            line |= {"images": sum(self.counts[client])}
        return line
