"""Which images are answered together, and in which order."""

import zlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from callbacks.randomness import Draw

Order = Literal["mixed", "sorted"]
ORDERS = ("mixed", "sorted")


@dataclass(frozen=True)
class Stream:
    """Images in batches, decided by their indices, labels and a seed alone.

    Neither the order nor the batches of a loader, nor the number of processes, changes it.

    Args:
        index: `(N,)` of the samples, ascending.
        batches: `(n,)` rows of `index` each.
    """

    index: Tensor
    batches: tuple[Tensor, ...]

    def __str__(self) -> str:
        sizes = [len(batch) for batch in self.batches]
        each = f"{min(sizes)} to {max(sizes)}" if min(sizes) < max(sizes) else f"{sizes[0]}"
        return f"{len(self.index):,} images ({self.digest}) in {len(sizes)} batches of {each}"

    @property
    def batch_of_row(self) -> Tensor:
        """`(N,)` number of the batch in which each of `index` is answered."""
        sizes = torch.tensor([len(batch) for batch in self.batches])
        number = torch.arange(len(sizes)).repeat_interleave(sizes)
        return torch.empty_like(number).scatter_(0, torch.cat(self.batches), number)

    @property
    def digest(self) -> str:
        """Tells other images from these, eight hex digits."""
        return f"{zlib.crc32(self.index.numpy().astype('int64').tobytes()):08x}"


def stream_of(index: Tensor, label: Tensor, order: Order, most: int, seed: int) -> Stream:
    """Puts images in an order and cuts it into batches of nearly the same size.

    Args:
        index: `(N,)` of the samples, in any order.
        label: `(N,)`; looked at for the order "sorted" only.
        order: "mixed" is random; "sorted" is class after class, mixed within each.
        most: images in a batch at most.
        seed: of the order.

    >>> len(stream_of(torch.arange(10), torch.zeros(10), "mixed", 4, 0).batches)
    3
    """
    by_index = index.argsort()
    index, label = index[by_index], label[by_index]
    rows = Draw(seed, index).uniform("adaptation order", 0, ()).argsort(stable=True)
    if order == "sorted":
        rows = rows[label[rows].argsort(stable=True)]
    count = max(-(-len(rows) // most), 1)
    return Stream(index, tuple(torch.tensor_split(rows, count)))
