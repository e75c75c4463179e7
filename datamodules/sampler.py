"""A distributed sampler that measures every sample exactly once."""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Dataset, DistributedSampler


class ExactDistributedSampler(DistributedSampler):
    """Gives rank r the samples r, r + W, r + 2W, ...; ranks may get one more than others.

    PyTorch's own sampler repeats samples until all ranks have equally many. This one is a subclass
    of it, so that Lightning leaves it in place.

    Args:
        dataset: to be sampled in order.
        num_replicas: processes.
        rank: of this process.
    """

    def __init__(self, dataset: Dataset, num_replicas: int, rank: int) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=False)
        self.rows = range(rank, len(dataset), num_replicas)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)
