"""Statistics of a layer's activations that grow with every batch and merge in any order."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_OCTAVES = 20
"""The histogram reaches from 2^-20 to 2^20 on either side of zero."""
_PER_OCTAVE = 8


@lru_cache(maxsize=8)
def histogram_edges(device: torch.device) -> Tensor:
    """The `(642,)` ascending edges of every histogram: eight bins an octave on both sides of zero.

    They are the same for every layer and model, so that histograms add up without being told a
    range first. A bin is 9 % wide, `2^(1/8)`, which bounds the error of a quantile.
    """
    steps = torch.arange(-_OCTAVES * _PER_OCTAVE, _OCTAVES * _PER_OCTAVE + 1, device=device)
    positive = torch.exp2(steps.double() / _PER_OCTAVE)
    return torch.cat([-positive.flip(0), positive])


@dataclass(frozen=True)
class LayerStatistics:
    """Moments, zeros and a histogram of what was seen of a layer so far; `a + b` merges two.

    Args:
        count: `()` float64, values seen of each channel.
        mean: `(C,)` float64.
        m2: `(C,)` float64, sum of squared deviations from the mean.
        zeros: `(C,)` float64, how many values were exactly zero.
        histogram: `(643,)` float64, counts over all channels between `histogram_edges`.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor
    zeros: Tensor
    histogram: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "LayerStatistics":
        """Summarises values `(M, C)` of one or more batches.

        What is not finite is counted as zero mass in the outermost bins, and makes mean and
        variance not finite too, so that it cannot hide.
        """
        values = values.detach()
        count = torch.tensor(float(len(values)), dtype=torch.float64, device=values.device)
        exact = values.double()
        mean = exact.mean(0)
        edges = histogram_edges(values.device)
        place = torch.bucketize(exact.flatten(), edges)
        return cls(
            count,
            mean,
            (exact - mean).square().sum(0),
            (values == 0).sum(0).double(),
            torch.bincount(place, minlength=len(edges) + 1).double(),
        )

    def __add__(self, other: "LayerStatistics") -> "LayerStatistics":
        """Merges by Chan, Golub & LeVeque 1979 (Welford 1962 is the case of one value)."""
        count = self.count + other.count
        delta = other.mean - self.mean
        share = other.count / count
        return LayerStatistics(
            count,
            self.mean + delta * share,
            self.m2 + other.m2 + delta.square() * self.count * share,
            self.zeros + other.zeros,
            self.histogram + other.histogram,
        )

    @property
    def variance(self) -> Tensor:
        """`(C,)` unbiased variance; NaN of fewer than two values."""
        return self.m2 / (self.count - 1).clamp(min=0)

    @property
    def zero_rate(self) -> Tensor:
        """`(C,)` share of exact zeros, in [0, 1]."""
        return self.zeros / self.count

    def quantile(self, q: float) -> float:
        """The value that a share `q` of all values is below, within 9 % (linear inside a bin).

        Values closer to zero than 2^-20 count as zero.

        Args:
            q: in [0, 1].
        """
        edges = histogram_edges(self.histogram.device)
        cumulative = self.histogram.cumsum(0)
        target = q * cumulative[-1]
        place = int(torch.searchsorted(cumulative, target).clamp(max=len(edges)))
        if place in (0, len(edges)):  # beyond the outermost edge
            return float(edges[min(place, len(edges) - 1)])
        low, high = edges[place - 1], edges[place]
        before = cumulative[place] - self.histogram[place]
        if low < 0 < high:
            return 0.0
        return float(low + (high - low) * (target - before) / self.histogram[place].clamp(min=1))

    def tensors(self) -> dict[str, Tensor]:
        """The parts by name, for a file."""
        return {name: getattr(self, name) for name in ("count", "mean", "m2", "zeros", "histogram")}
