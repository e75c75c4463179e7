"""Training samples, or whole classes, that are missing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.sample_randomness import check_rate, chosen_share, sample_uniform
from datamodules.spoiled import Spoiling


@dataclass(frozen=True)
class DropSamples:
    """Leaves out exactly `round(rate * N)` samples.

    Args:
        rate: share, in [0, 1).
        stratified: every class loses its share; else a small class may vanish.
    """

    rate: float
    stratified: bool = True

    def __post_init__(self) -> None:
        """Refuses to leave nothing."""
        check_rate(self.rate, below=True)

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`."""
        if self.stratified:
            rows = _stratified(label, sample_uniform(index, "drop", seed), self.rate)
        else:
            rows = chosen_share(index, self.rate, "drop", seed)
        facts = {"kind": "drop_samples", "rate": self.rate, "stratified": self.stratified}
        return Spoiling(index[rows].sort().values, dropped=True, facts=facts)


@dataclass(frozen=True)
class DropClasses:
    """Leaves out all samples of some classes; the model keeps its outputs for them.

    Args:
        classes: their numbers.
    """

    classes: tuple[int, ...]

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`; nothing is drawn.

        Raises:
            UserError: a class that does not exist, or all of them.
        """
        unknown = [number for number in self.classes if not 0 <= number < classes]
        if unknown:
            raise UserError(f"Expected `classes` from 0 to {classes - 1}, but got {unknown[0]}.")
        dropped = torch.isin(label, torch.tensor(self.classes, dtype=label.dtype))
        if bool(dropped.all()):
            raise UserError("Expected `classes` to leave some samples, but nothing would be left.")
        facts = {"kind": "drop_classes", "classes": ",".join(map(str, sorted(set(self.classes))))}
        return Spoiling(index[dropped].sort().values, dropped=True, facts=facts)


def _stratified(label: Tensor, number: Tensor, rate: float) -> Tensor:
    """Rows of the lowest numbers, every class in its share (systematic: see `stratified_order`)."""
    order = number.argsort(stable=True)
    order = order[label[order].argsort(stable=True)]
    counts = label.bincount()
    first = counts.cumsum(0) - counts
    place = torch.arange(len(label)) - first[label[order]]
    share = (place + 0.5) / counts[label[order]]
    # Of equal shares the lower number goes first: never the order in which samples stand.
    lowest = number[order].argsort(stable=True)
    dropped_first = order[lowest][share[lowest].argsort(stable=True)]
    return dropped_first[: round(rate * len(label))].sort().values
