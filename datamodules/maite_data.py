"""Data sets that follow MAITE's protocol for image classification."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.listed_data import ListedData, Listing
from datamodules.python_objects import python_object
from datamodules.stored_images import StoredImages


class MAITE(ListedData):
    """Your code's data set by MAITE's protocol: `maite:MODULE:NAME`, an object or what makes one.

    Items are (image, target, metadata): pixels `(C, H, W)` of uint8 or float in [0, 1], a score a
    class, of which the largest is the label, and a dictionary. Classes are `index2label` of its
    metadata. MAITE has no splits: the one named is for testing.

    Args:
        root: `MODULE:NAME` of the test images, in the current folder or installed.
        train: `MODULE:NAME` of training images, where they are needed.
        val: the same; without it some training images are kept for validation.
        options: of `ImageDataModule`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        train: str | None = None,
        val: str | None = None,
        **options: Any,
    ) -> None:
        self._named = {"train": train, "val": val}
        super().__init__(root, **options)

    @property
    def title(self) -> str:
        """With the object's name."""
        return f"{self.name}:{self.root.name}"

    def list_images(self) -> Listing:
        """Makes the data sets and reads all targets."""
        named = {**self._named, "test": str(self.root)}
        parts = {split: _opened(name) for split, name in named.items() if name}
        scores = {split: _targets(part, split) for split, part in parts.items()}
        count = scores["test"].shape[1]
        if any(part.shape[1] != count for part in scores.values()):
            sizes = ", ".join(f"{part.shape[1]} ({split})" for split, part in scores.items())
            raise UserError(f"Expected targets of one number of classes, but got {sizes}.")
        names = [f"{split}/{row}" for split, part in parts.items() for row in range(len(part))]
        known = _classes(parts["test"], count)
        label = torch.cat(list(scores.values()))
        notes = _notes(label) + (
            [] if known else [f"Classes have no names: targets have {count} scores."]
        )
        store = _Items(parts)

        def images(rows: list[int]) -> StoredImages:
            chosen = [names[row] for row in rows]
            top = label[rows].argmax(1)
            return StoredImages(store, chosen, top, self.root, self.preprocessing)

        kinds = known or tuple(map(str, range(count)))
        split = [name.partition("/")[0] for name in names]
        return Listing(kinds, label.argmax(1), split, images, False, notes)


class _Items:
    """The images of all splits by `split/row`."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.parts = parts

    def read(self, name: str) -> Tensor:
        """Pixels as they come; whoever looks at them checks their range."""
        split, _, row = name.rpartition("/")
        return _tensor(self.parts[split][int(row)][0])


def maite_object(name: str, marks: tuple[str, ...], what: str) -> Any:
    """Imports an object by a protocol of MAITE's, or calls what makes one.

    Args:
        name: `MODULE:NAME`.
        marks: attributes that tell such an object.
        what: it should be, for messages.

    Raises:
        UserError: it is neither.
    """
    found = python_object(name, "maite")
    made = isinstance(found, type) or (
        callable(found) and not all(hasattr(found, mark) for mark in marks)
    )
    try:
        given = found() if made else found
    except TypeError as error:
        raise UserError(
            f"Expected maite:{name} to be {what}, or callable without arguments, but {error}."
        ) from error
    if missing := [mark for mark in marks if not hasattr(given, mark)]:
        raise UserError(
            f"Expected maite:{name} to be {what}, but a {type(given).__name__} has no "
            f"{' and no '.join(f'`{mark}`' for mark in missing)}."
        )
    return given


def index2label(item: Any, count: int | None, name: str) -> tuple[str, ...] | None:
    """The names of the classes in the metadata of a data set or model; None where there are none.

    Raises:
        UserError: they are not numbered from 0 on, or not as many as there are scores.
    """
    metadata = item.metadata if isinstance(item.metadata, Mapping) else {}
    known = metadata.get("index2label")
    if not known:
        return None
    wanted = range(len(known) if count is None else count)
    if sorted(known) != list(wanted):
        raise UserError(
            f"Expected `index2label` of {name} to name the classes 0 to {len(wanted) - 1}, but got "
            f"{len(known)} keys, {str(sorted(known, key=str)[:5])[1:-1]} first."
        )
    return tuple(str(known[number]) for number in wanted)


def _opened(name: str) -> Any:
    """A data set with items and a length."""
    data = maite_object(name, ("__getitem__", "__len__", "metadata"), "a MAITE data set")
    if not len(data):
        raise UserError(f"Expected images in maite:{name}, but it is empty.")
    return data


def _targets(data: Any, split: str) -> Tensor:
    """`(N, K)` scores; a fieldwise data set is asked for nothing else."""
    fieldwise = getattr(data, "get_target", None)
    found = [
        _asked(fieldwise, row) if fieldwise else _item(data, row)[1] for row in range(len(data))
    ]
    scores = [_tensor(target) for target in found]
    shapes = {tuple(score.shape) for score in scores}
    if len(shapes) > 1 or scores[0].ndim != 1 or len(scores[0]) < 2:
        raise UserError(
            f"Expected a score for each of at least two classes as every target ({split}), but got "
            f"shapes {str(sorted(shapes)[:3])[1:-1]}: MAITE's targets are one-hot, not numbers."
        )
    return torch.stack(scores).double()


def _asked(field: Callable[[int], Any], row: int) -> Any:
    """What a data set answers for an item that its length promises.

    Raises:
        UserError: its code raises an error of whatever kind.
    """
    try:
        return field(row)
    except Exception as error:
        raise UserError(
            f"Expected an item {row} of the MAITE data set, as its length promises, but it raises "
            f"{type(error).__name__}: {error}."
        ) from error


def _item(data: Any, row: int) -> Any:
    item = _asked(data.__getitem__, row)
    if not isinstance(item, tuple | list) or len(item) != 3:
        raise UserError(
            f"Expected (image, target, metadata) from a MAITE data set, but item {row} is a "
            f"{type(item).__name__} of {len(item) if hasattr(item, '__len__') else 1}."
        )
    return item


def _tensor(array: Any) -> Tensor:
    """A tensor of whatever follows the array protocol, without a graph."""
    if isinstance(array, Tensor):
        return array.detach().cpu()
    return torch.from_numpy(np.array(array))


def _classes(data: Any, count: int) -> tuple[str, ...] | None:
    return index2label(data, count, "the data set")


def _notes(scores: Tensor) -> list[str]:
    """What is said of targets that are not one-hot.

    Raises:
        UserError: some have no largest score.
    """
    first, second = scores.topk(2).values.unbind(1)
    if bool((~(first > second)).any()):
        row = int((~(first > second)).nonzero()[0])
        raise UserError(
            f"Expected one largest score in every target, but that of item {row} is "
            f"{scores[row].tolist()[:5]}."
        )
    soft = int(((first != 1) | (scores.sum(1) != 1)).sum())
    said = f"{soft:,} of {len(scores):,} targets are not one-hot: the largest score is the label."
    return [said] * bool(soft)
