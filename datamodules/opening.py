"""A data set by its name, as every command takes it: `MNIST`, or `ImageFolder:photos`."""

from pathlib import Path
from typing import Any

from datamodules.errors import UserError, suggestion
from datamodules.image_datamodule import ImageDataModule


def data_named(data: Any, known: dict[str, type[ImageDataModule]]) -> ImageDataModule:
    """Opens a data set.

    Args:
        data: `NAME`, `NAME:FOLDER`, or a data module, which is given back.
        known: data sets by name.

    Raises:
        UserError: there is no data set of that name.
    """
    if isinstance(data, ImageDataModule):
        return data
    if not isinstance(data, str):
        raise UserError(
            f"Expected `data` to be a name or a data module, but got {type(data).__name__}."
        )
    name, _, root = data.partition(":")
    if name not in known:
        raise UserError(f"There is no data set {name!r}.{suggestion(name, known)}")
    return known[name](root=Path(root)) if root else known[name]()
