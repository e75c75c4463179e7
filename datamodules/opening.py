"""A data set as every command takes it: `MNIST`, `ImageFolder:photos`, or what PyTorch gives."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from datamodules.errors import UserError, suggestion
from datamodules.image_datamodule import ImageDataModule
from datamodules.torch_data import TorchData


def open_data(data: Any, known: Mapping[str, type[ImageDataModule]]) -> ImageDataModule:
    """Opens a data set.

    Args:
        data: `NAME`, `NAME:FOLDER`, a data module, which is given back, or a Dataset, DataLoader or
            two tensors of test images and labels; see `TorchData` for training images too.
        known: data sets by name.

    Raises:
        UserError: there is no data set of that name, or it gives no images with labels.
    """
    if isinstance(data, ImageDataModule):
        return data
    if isinstance(data, DataLoader | Dataset | tuple | list):
        return TorchData(data)  # pyright: ignore[reportArgumentType]
    if not isinstance(data, str):
        raise UserError(
            "Expected `data` to be a name, a data module, a DataLoader, a Dataset or two tensors, "
            f"but got {type(data).__name__}."
        )
    name, _, root = data.partition(":")
    name = known_name(name, known)
    return known[name](root=Path(root)) if root else known[name]()


def known_name(name: str, known: Iterable[str]) -> str:
    """The name of a data set, which may be typed in small letters: `maite`, `csv`.

    Raises:
        UserError: there is none of that name.
    """
    names = {one.casefold(): one for one in known}
    if name.casefold() not in names:
        raise UserError(f"There is no data set {name!r}.{suggestion(name, names.values())}")
    return names[name.casefold()]
