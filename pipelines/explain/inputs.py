"""What every stage of an explanation works with: model, images and random numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import Batch, ImageDataModule
from datamodules.preprocessing import in_unit_range
from datamodules.splits import stratified_order
from lightning_modules import Classifier
from pipelines.explain.plan import Plan


@dataclass(frozen=True)
class Inputs:
    """What every stage works with.

    Args:
        classifier: that is explained, on its device, in evaluation mode.
        data: what it was trained on; its test images are explained.
        plan: what was asked for.
        seed: of every random number.
        clean: rows of the undisturbed test images.
    """

    classifier: Classifier
    data: ImageDataModule
    plan: Plan
    seed: int = 0
    clean: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    @property
    def device(self) -> torch.device:
        """Of the classifier."""
        return self.classifier.device

    @property
    def budget(self) -> float:
        """Forwards of the score; other views may spend a share of it once more."""
        return self.plan.forwards * min(self.plan.limit, len(self.clean))

    def queries(self) -> Queries:
        """The model, counting from 0."""
        return Queries(self.classifier, self.classifier.chunk)

    def images(self, split: str, count: int) -> tuple[Tensor, Tensor, Draw]:
        """At most `count` images of a split on the device, their labels and random numbers."""
        image, label, index = next(batches(self.data, split, count, count))
        return image.to(self.device), label, Draw(self.seed, index.to(self.device))

    def images_at(self, index: np.ndarray) -> tuple[Tensor, Draw]:
        """Test images on the device by their index in the data set, and their random numbers."""
        images = self.data.images("test")
        own = images.index.numpy()
        order = own.argsort()
        batch = images.__getitems__(order[np.searchsorted(own, index, sorter=order)].tolist())
        draw = Draw(self.seed, batch.index.to(self.device))
        return in_unit_range(batch.image).to(self.device), draw


def batches(
    data: ImageDataModule, split: str, count: int | None, size: int, run: int | None = None
) -> Iterator[Batch]:
    """Yields images of a split in [0, 1]: always the same, classes balanced, in random order.

    Args:
        data: any.
        split: `train`, `val` or `test`.
        count: how many at most; None for all.
        size: of a batch.
        run: length of the runs of neighbours to take instead, in the data's order; see `in_runs`.
    """
    images = data.images(split)
    images.check()
    if run is None:
        rows = stratified_order(images.label, data.seed)[:count]
        mixed = torch.randperm(len(rows), generator=torch.Generator().manual_seed(data.seed))
        chosen = rows[mixed]
    else:
        chosen = images.index.argsort()[in_runs(len(images), count, run)]
    for part in chosen.split(size):
        batch = images.__getitems__(part.tolist())
        yield Batch(in_unit_range(batch.image), batch.label, batch.index)


def in_runs(length: int, count: int | None, run: int) -> Tensor:
    """Places `(count,)` in a stream, ascending: runs of neighbours, spread evenly.

    Images one by one would be less alike than neighbours are, and the first ones may be of one
    class.

    Args:
        length: of the stream.
        count: of places, at most; None for all.
        run: neighbours in a run.

    Example:
        >>> in_runs(10, 4, 2).tolist()
        [0, 1, 8, 9]
    """
    count = length if count is None else min(count, length)
    place, runs = torch.arange(count), -(-count // run)
    return place + place // run * (length - count) // max(1, runs - 1)


def as_bytes(image: Tensor) -> np.ndarray:
    """From `(N, C, H, W)` in [0, 1] to `(N, H, W, C)` uint8, as pictures are kept."""
    return (255 * image.movedim(1, -1)).round().byte().cpu().numpy()
