"""Statistics of a layer's activations that grow with every batch and merge in any order."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_OCTAVES = 20
"""The histogram reaches from 2^-20 to 2^20 on either side of zero."""
_PER_OCTAVE = 16
_SIGNIFICAND = 19
"""A float32 without its last 19 bits is its sign, its octave and which 16th of that."""
_LOWEST = (127 - _OCTAVES) * _PER_OCTAVE - 1
_SIDE = 2 * _OCTAVES * _PER_OCTAVE + 1


@lru_cache(maxsize=8)
def histogram_edges(device: torch.device) -> Tensor:
    """The `(1284,)` ascending edges of every histogram: 16 bins an octave on both sides of zero.

    They are the same for every layer and model, so that histograms add up without being told a
    range first. A bin is at most 1/16 of its value wide, which bounds the error of a quantile. The
    middle bin holds zero and what is closer to it than 2^-20, the outer two what is further away
    than 2^20, infinite or no number.
    """
    bits = torch.arange(_LOWEST + 1, _LOWEST + 1 + _SIDE, dtype=torch.int32, device=device)
    positive = (bits << _SIGNIFICAND).view(torch.float32).double()
    return torch.cat([-positive.flip(0), positive])


def histogram(values: Tensor) -> Tensor:
    """Counts values of any shape between `histogram_edges`, `(1285,)` float64.

    Reads the bin off the bits of the numbers: ten times as fast as a search among the edges. Unlike
    `bincount`, which asks for the largest, nothing here waits for the device.
    """
    bits = values.detach().float().contiguous().view(torch.int32).flatten()
    size = ((bits & 0x7FFFFFFF) >> _SIGNIFICAND).clamp_(_LOWEST, _LOWEST + _SIDE).sub_(_LOWEST)
    place = torch.where(bits < 0, _SIDE - size, _SIDE + size)
    counts = place.new_zeros(2 * _SIDE + 1, dtype=torch.float64)
    return counts.index_add_(0, place, counts.new_ones(1).expand(len(place)))


@dataclass(frozen=True)
class LayerStatistics:
    """Moments, zeros and a histogram of what was seen of a layer so far; `a + b` merges two.

    Args:
        count: `()` float64, values seen of each channel.
        mean: `(C,)` float64.
        m2: `(C,)` float64, sum of squared deviations from the mean.
        zeros: `(C,)` float64, how many values were exactly zero.
        histogram: `(1285,)` float64, counts over all channels between `histogram_edges`.
    """

    count: Tensor
    mean: Tensor
    m2: Tensor
    zeros: Tensor
    histogram: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "LayerStatistics":
        """Summarises values `(M, C)` of one or more batches.

        What is not finite counts in the outermost bins, and makes mean and variance not finite
        too, so that it cannot hide.
        """
        values = values.detach()
        values = values if values.dtype == torch.float64 else values.float()
        variance, mean = torch.var_mean(values, 0, correction=0)
        count = torch.full((), float(len(values)), dtype=torch.float64, device=values.device)
        zeros = (values == 0).sum(0).double()
        return cls(count, mean.double(), variance.double() * count, zeros, histogram(values))

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
        """The value that a share `q` of all values is below, within 6 % (linear inside a bin).

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
