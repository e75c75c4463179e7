"""Any classification data set of torchvision that lies on disk."""

import inspect
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image

from datamodules.errors import UserError, suggestion
from datamodules.listed_data import ListedData, Listing
from datamodules.roots import default_root
from datamodules.stored_images import Content, StoredImages

_SPLITS = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}
_LABELS = ("targets", "labels", "_labels")


class Torchvision(ListedData):
    """A data set of torchvision that is on disk: `Torchvision:SVHN:FOLDER`; nothing is downloaded.

    Splits are those of its argument `train` or `split`; a data set without either is split at
    random by the seed. Classes are its attribute `classes`, else the numbers that occur.

    Args:
        root: `NAME:FOLDER`, the name of the class in torchvision.datasets.
        arguments: further ones of the class, e.g. `{split: letters}` for EMNIST.
        options: of `ImageDataModule`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        arguments: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.arguments = arguments or {}
        super().__init__(root, **options)

    @property
    def title(self) -> str:
        """With the name of the data set."""
        return f"{self.name}:{self._named[0]}"

    @property
    def files_in(self) -> Path:
        """The folder of the data set."""
        return self._named[1]

    def list_images(self) -> Listing:
        """Opens all splits and reads their labels."""
        parts = self._parts
        if not parts:
            raise UserError(f"torchvision's {self._named[0]} has no split of a name known here.")
        names = [f"{split}/{row}" for split, part in parts.items() for row in range(len(part))]
        label = torch.cat([_labels(part, self._named[0]) for part in parts.values()])
        split = [name.partition("/")[0] for name in names] if "all" not in parts else []
        known = getattr(next(iter(parts.values())), "classes", None)
        kinds = tuple(map(_class_name, known or range(1 + int(label.max()))))
        notes = [] if known else [f"Classes have no names: labels 0 to {len(kinds) - 1} occur."]
        store, folder = _Items(parts), self._named[1]

        def images(rows: list[int]) -> StoredImages:
            chosen = [names[row] for row in rows]
            # torchvision turns no photograph as its EXIF orientation says.
            return StoredImages(store, chosen, label[rows], folder, self.preprocessing, False)

        return Listing(kinds, label, split, images, not known, notes)

    @cached_property
    def _named(self) -> tuple[str, Path]:
        """The class in torchvision.datasets, and the folder of its files."""
        name, _, folder = str(self.root).partition(":")
        if not _is_data_set(name):
            known = [name for name in torchvision.datasets.__all__ if _is_data_set(name)]
            raise UserError(
                f"torchvision has no data set {name!r}: give `--data Torchvision:NAME:FOLDER`."
                f"{suggestion(name, known)}"
            )
        return name, Path(os.path.expanduser(folder)) if folder else default_root(name)

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """The data sets by split; "all" where it has none."""
        known = inspect.signature(getattr(torchvision.datasets, self._named[0])).parameters
        if "train" in known and "train" not in self.arguments:
            return {"train": self._opened(train=True), "test": self._opened(train=False)}
        if "split" not in known or "split" in self.arguments:
            return {"all": self._opened()}
        parts: dict[str, Any] = {}
        for split, words in _SPLITS.items():
            found = (part for word in words if (part := self._opened(split=word)) is not None)
            if (part := next(found, None)) is not None:
                parts[split] = part
        return parts

    def _opened(self, **split: Any) -> Any:
        """A part of the data set; None where it has no split of that name."""
        name, folder = self._named
        kind = getattr(torchvision.datasets, name)
        known = inspect.signature(kind).parameters
        given: dict[str, Any] = {"root": folder, "download": False}
        given = {key: value for key, value in given.items() if key in known}
        try:
            return kind(**given, **split, **self.arguments)
        except ValueError as error:
            if "Unknown value" in str(error) and "split" in split:
                return None
            reason: Exception = error
        except (OSError, RuntimeError, TypeError, ImportError, IndexError) as error:
            reason = error
        first = (str(reason).splitlines() or [type(reason).__name__])[0].rstrip(".")
        raise UserError(
            f"torchvision's {name} cannot be opened in {str(folder)!r}: {first}. Put its files "
            "there, see torchvision's page of it; arguments of its own go in `--data.arguments`."
        ) from reason


class _Items:
    """The images of all splits by `split/row`, as the data set opens them."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts

    def read(self, name: str) -> Content:
        """An image of Pillow's, or pixels."""
        split, _, row = name.rpartition("/")
        image = self.parts[split][int(row)][0]
        if not isinstance(image, Image.Image | torch.Tensor):
            raise ValueError(f"expected an image, but got {type(image).__name__}")
        return image


def _is_data_set(name: str) -> bool:
    kind = getattr(torchvision.datasets, name, None)
    return name in torchvision.datasets.__all__ and inspect.isclass(kind)


def _class_name(known: Any) -> str:
    """ImageNet's classes have several words each."""
    return ", ".join(known) if isinstance(known, tuple) else str(known)


def _labels(part: Any, name: str) -> torch.Tensor:
    """The labels that a data set keeps, else those of its items, one by one."""
    for kept in (getattr(part, attribute, None) for attribute in _LABELS):
        if isinstance(kept, list | tuple | np.ndarray | torch.Tensor) and len(kept) == len(part):
            label = torch.as_tensor(np.asarray(kept)) if _are_whole(kept) else None
            if label is not None and label.ndim == 1 and len(part) and int(label[0]) == part[0][1]:
                return label.long()
    found = [part[row][1] for row in range(len(part))]
    if not _are_whole(found):
        raise UserError(
            f"Expected one class as the label of each image of torchvision's {name}, but got "
            f"{str(found[0])[:60]}: it is no classification data set, or give `--data.arguments`."
        )
    return torch.tensor(found, dtype=torch.long)


def _are_whole(labels: Any) -> bool:
    try:
        kept = np.asarray(labels)
    except ValueError:
        return False
    return kept.ndim == 1 and np.issubdtype(kept.dtype, np.integer)
