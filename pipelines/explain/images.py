"""The images that the stages of an explanation look at: always the same, classes balanced."""

from collections.abc import Iterator

import numpy as np
import torch

from datamodules import Batch, ImageDataModule
from datamodules.preprocessing import in_unit_range
from datamodules.splits import stratified_order


def batches(data: ImageDataModule, split: str, count: int | None, size: int) -> Iterator[Batch]:
    """Yields images of a split in [0, 1], in random order.

    Args:
        data: any.
        split: `train`, `val` or `test`.
        count: how many at most; None for all.
        size: of a batch.
    """
    images = data.images(split)
    images.check()
    rows = stratified_order(images.label, data.seed)[:count]
    mixed = torch.randperm(len(rows), generator=torch.Generator().manual_seed(data.seed))
    for part in rows[mixed].split(size):
        batch = images.__getitems__(part.tolist())
        yield Batch(in_unit_range(batch.image), batch.label, batch.index)


def one_batch(data: ImageDataModule, split: str, count: int) -> Batch:
    """At most `count` images of a split at once; see `batches`."""
    return next(batches(data, split, count, count))


def images_at(data: ImageDataModule, index: np.ndarray) -> Batch:
    """Test images in [0, 1] by their index in the data set."""
    images = data.images("test")
    own = images.index.numpy()
    order = own.argsort()
    batch = images.__getitems__(order[np.searchsorted(own, index, sorter=order)].tolist())
    return Batch(in_unit_range(batch.image), batch.label, batch.index)


def as_bytes(image: torch.Tensor) -> np.ndarray:
    """From `(N, C, H, W)` in [0, 1] to `(N, H, W, C)` uint8, as pictures are kept."""
    return (255 * image.movedim(1, -1)).round().byte().cpu().numpy()
