"""Reads the images and labels of a Dataset, a DataLoader or two tensors, or refuses them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)

from datamodules.batch import Batch
from datamodules.decoding import pixels
from datamodules.errors import UserError
from datamodules.images import MemoryImages
from datamodules.preprocessing import in_unit_range

Source = Dataset | DataLoader | Sequence[Any]
"""Gives pairs (image, label); or two tensors, `(N, C, H, W)` and `(N,)`."""

_TRIED_TWICE = 16  # images: one random flip goes unnoticed once in 65,536 data sets


def read_images(source: Source, name: str) -> MemoryImages:
    """Reads everything into memory, without a trace in the global random state.

    Args:
        source: of uint8 or [0, 1] images `(C, H, W)` or `(N, C, H, W)` of one size, or Pillow's.
        name: of the argument, for messages.

    Raises:
        UserError: what comes is no image or no label.
    """
    with torch.random.fork_rng(devices=[]):
        pairs = [_pair(item, name) for item in _items(source, name)]
    if not sum(len(label) for _, label in pairs):
        raise UserError(f"Expected images in `{name}`, but it is empty.")
    sizes = {tuple(image.shape[1:]): None for image, _ in pairs}
    kinds = {image.dtype for image, _ in pairs}
    if len(sizes) > 1 or len(kinds) > 1:
        different = list(sizes if len(sizes) > 1 else kinds)[:2]
        raise UserError(
            f"Expected images of one size and type in `{name}`, but got {different[0]} and "
            f"{different[1]}: let the data set resize and convert them."
        )
    image = torch.cat([image for image, _ in pairs])
    if image.dtype != torch.uint8:
        image = in_unit_range(image)
    return MemoryImages(image, torch.cat([label for _, label in pairs]))


def is_random(source: Source) -> bool:
    """Whether the first images differ when they are read twice, as with random transforms."""
    data = underlying(source)
    listed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if _are_tensors(source) or isinstance(data, IterableDataset) or not listed:
        return False
    rows = range(min(len(data), _TRIED_TWICE))
    with torch.random.fork_rng(devices=[]):
        twice = [[_pair(data[row], "images")[0] for row in rows] for _ in range(2)]
    return any(not torch.equal(one, two) for one, two in zip(*twice, strict=True))


def underlying(source: Any) -> Any:
    """The data set of a DataLoader."""
    return source.dataset if isinstance(source, DataLoader) else source


def class_names(source: Any) -> tuple[str, ...] | None:
    """The attribute `classes` of a data set, or of the one that it is a part of."""
    data, names = underlying(source), None
    while data is not None and names is None:
        names = getattr(data, "classes", None)
        parts = getattr(data, "datasets", None)  # of a ConcatDataset
        data = parts[0] if parts else getattr(data, "dataset", None)  # of a Subset
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _are_tensors(source: Any) -> bool:
    pair = isinstance(source, list | tuple) and len(source) == 2
    return pair and all(isinstance(part, Tensor | np.ndarray) for part in source)


def _items(source: Any, name: str) -> Iterable[Any]:
    """Samples or batches, in the order of the data set."""
    if _are_tensors(source):
        return [source]
    if isinstance(source, DataLoader):
        return _in_order(source, name)
    if isinstance(source, IterableDataset):
        return source
    if not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        raise UserError(
            f"Expected `{name}` to be a Dataset, a DataLoader or two tensors, but got "
            f"{type(source).__name__}."
        )
    return (source[row] for row in range(len(source)))


def _in_order(loader: DataLoader, name: str) -> Iterable[Any]:
    """The loader's batches without its shuffling; a sampler that chooses images is refused."""
    if isinstance(loader.dataset, IterableDataset):
        return _loaded(loader, 0)  # several workers would each give all of a plain one's images
    whole = isinstance(loader.sampler, SequentialSampler) or (
        isinstance(loader.sampler, RandomSampler)
        and not loader.sampler.replacement
        and loader.sampler.num_samples == len(loader.sampler.data_source)
    )
    if not whole or type(loader.batch_sampler) not in (BatchSampler, type(None)):
        raise UserError(
            f"Expected a DataLoader of all images in `{name}`, but its sampler chooses some: give "
            "the data set, or a torch.utils.data.Subset of it."
        )
    return _loaded(loader, loader.num_workers)


def _loaded(loader: DataLoader, workers: int) -> DataLoader:
    """All images in order: the last batch too, where the loader drops it."""
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        num_workers=workers,
        collate_fn=loader.collate_fn,
    )


def _pair(item: Any, name: str) -> tuple[Tensor, Tensor]:
    """One sample or batch as images `(N, C, H, W)` and labels `(N,)`."""
    if not isinstance(item, list | tuple) or (len(item) != 2 and not isinstance(item, Batch)):
        kind = f"{len(item)} things" if isinstance(item, list | tuple) else type(item).__name__
        raise UserError(f"Expected pairs (image, label) in `{name}`, but got {kind}.")
    image, label = _image(item[0], name), _label(item[1], name)
    if label.is_floating_point() or label.dtype == torch.bool or label.numel() != len(image):
        raise UserError(
            f"Expected one whole number as the label of each image in `{name}`, but got "
            f"{tuple(label.shape)} of {label.dtype} for {len(image)}."
        )
    return image, label.reshape(-1).long()


def _label(given: Any, name: str) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):  # a text, None, a pair of things
        shown = repr(given)
        raise UserError(
            f"Expected one whole number as the label of each image in `{name}`, but got "
            f"{shown[:60]}{' ...' if len(shown) > 60 else ''}: number the classes from 0 and give "
            "their names as `classes` of the data set."
        ) from None


def _image(given: Any, name: str) -> Tensor:
    if isinstance(given, Image.Image):
        try:
            return pixels(given)[None]
        except ValueError as error:
            raise UserError(f"Expected 8-bit images in `{name}`, but got {error}.") from None
    if not isinstance(given, Tensor | np.ndarray):
        raise UserError(
            f"Expected images in `{name}` that are tensors or Pillow's, but got "
            f"{type(given).__name__}: let the data set convert them."
        )
    image = torch.as_tensor(given).detach().cpu()
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise UserError(
            f"Expected images (C, H, W) with 1 or 3 channels in `{name}`, but got shape "
            f"{tuple(torch.as_tensor(given).shape)}."
        )
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise UserError(
            f"Expected images in `{name}` of uint8, or float in [0, 1], but got {image.dtype}."
        )
    return image
