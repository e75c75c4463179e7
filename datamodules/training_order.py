"""The order of training images: a function of seed and epoch, so that an epoch can be gone on."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler


def epoch_order(count: int, seed: int, epoch: int, batch_size: int) -> list[int]:
    """A permutation of `count` rows.

    The numbers are those that torch's shuffling `DataLoader` draws for whole epochs without
    workers under Lightning, so that earlier trainings are what the same command trains now.

    Args:
        count: rows.
        seed: of all epochs.
        epoch: from 0.
        batch_size: torch draws a second permutation, unused, where the last batch is not full.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0)
    for _ in range(epoch + 1):
        torch.empty((), dtype=torch.int64).random_(generator=generator)  # for workers
        order = torch.randperm(count, generator=generator)
        if count % batch_size:
            torch.randperm(count, generator=generator)
    return order.tolist()


class TrainingOrder(DistributedSampler):
    """Shuffles by seed and epoch, and can leave out the batches of an epoch that are done.

    A subclass of PyTorch's distributed sampler, so that Lightning sets its epoch and leaves it in
    place on several devices, which get the same number of images each.

    Args:
        dataset: to be shuffled.
        num_replicas: processes.
        rank: of this process.
        seed: of the order.
        batch_size: images a batch and process.
        none_alone: leave out of an epoch the image that its last batch would hold alone.
    """

    def __init__(
        self, dataset: Dataset, num_replicas: int, rank: int, seed: int, batch_size: int,
        none_alone: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(dataset, num_replicas, rank, seed=seed)
        self.batch_size, self.done = batch_size, 0
        lone = 1 < batch_size < self.num_samples and self.num_samples % batch_size == 1
        self.without_last = none_alone and lone

    def __len__(self) -> int:
        """Images of an epoch and process."""
        return self.num_samples - self.without_last

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)  # type: ignore[arg-type]
        order = epoch_order(count, self.seed, self.epoch, self.batch_size)
        order = (order * -(-self.total_size // count))[: self.total_size]
        done, self.done = self.done, 0
        return iter(order[self.rank :: self.num_replicas][done * self.batch_size : len(self)])


class TrainingLoader(DataLoader):
    """A loader whose place in an epoch Lightning keeps in a checkpoint and goes back to.

    Its sampler is a `TrainingOrder`, or what Lightning puts in its place to overfit some batches.
    """

    _served = 0
    """Batches of the epoch; those of the epoch gone on included."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # Begun at the first batch: Lightning makes the iterator before it sets the epoch.
        self._served = getattr(self.sampler, "done", 0)
        for batch in super().__iter__():
            self._served += 1
            yield batch
        if isinstance(self.sampler, TrainingOrder):  # for who loops by hand; Lightning sets it
            self.sampler.set_epoch(self.sampler.epoch + 1)

    def state_dict(self) -> dict[str, int]:
        """Where it is."""
        return {"epoch": getattr(self.sampler, "epoch", 0), "batches": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on behind the batches of that epoch; after the last of them with the next epoch."""
        sampler = self.sampler
        if isinstance(sampler, TrainingOrder):
            sampler.set_epoch(state["epoch"])
            sampler.done = state["batches"] % len(self)
