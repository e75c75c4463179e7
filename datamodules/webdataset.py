"""Tars of images and labels, as the webdataset library writes and streams them."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_names import ClassOrder, split_mentioned, split_named
from datamodules.listed_data import ListedData, Listing, numbered
from datamodules.stored_images import StoredImages
from datamodules.webdataset_index import Member, Sample, expanded, indexed

_LABEL_PARTS = ("cls", "json")
_LABEL_KEYS = ("label", "cls", "class")
_CLASS_FILES = ("classnames.txt", "classes.txt")
_MOST = 1_000_000


class WebDataset(ListedData):
    """Sharded tars with an image and a label a sample: `a.jpg` + `a.cls` (or `a.json`).

    The root is a folder, one tar, or a pattern (`train-{000..009}.tar`, `data/*.tar`). Splits are
    told from the tars' folders or names (`train/000.tar`, `val-000.tar`). Samples are read by their
    place in the tar, in the order of shard and key; nothing is unpacked. A `.cls` holds a class's
    number, which `classnames.txt` beside the tars may name, a line a class, or its name.

    Args:
        root: of the tars.
        label_key: in `.json`; default: the only one of label, cls, class.
        class_names: all classes in the order of the labels, where no file beside the tars does.
        class_order: "text" sorts classes by name also where all names are numbers.
        exif_orientation: whether photographs are turned as their EXIF orientation says.
        options: of `ImageDataModule`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        label_key: str | None = None,
        class_names: list[str] | None = None,
        class_order: ClassOrder = "number",
        exif_orientation: bool = True,
        **options: Any,
    ) -> None:
        self.label_key, self.class_names = label_key, class_names or []
        self.class_order: ClassOrder = class_order
        self.exif_orientation = exif_orientation
        super().__init__(root, **options)

    @property
    def files_in(self) -> Path:
        """The folder of the tars."""
        return self._folder

    def list_images(self) -> Listing:
        """Walks through the tars' headers and reads the labels."""
        samples: list[Sample] = []
        split: list[str] = []
        notes: list[str] = []
        for shard in self._shards:
            found = indexed(shard)
            if not found:
                notes.append(f"`{printable(shard.name)}` holds no sample.")
            samples += found
            split += [self._split(shard)] * len(found)
        if None in split and len({*split}) > 1:
            raise UserError(
                "Expected every tar to name train, val or test, or none, but "
                f"{printable(samples[split.index(None)].shard.name)!r} names none of them."  # type: ignore[arg-type]
            )
        names, kinds = [self._name(sample) for sample in samples], self._stated_names(notes)
        by_number = all(name.isascii() and name.isdigit() for name in names)
        counted = by_number and not kinds and bool(names)
        if by_number and names:
            kinds = kinds or [str(number) for number in range(1 + _highest(names))]
            names = [
                _class_of(name, kinds, sample) for name, sample in zip(names, samples, strict=True)
            ]
        if counted:
            notes.append(f"Classes have no names: labels 0 to {len(kinds) - 1} occur.")
        classes, label = numbered(names, kinds, self.class_order)
        store, paths = _store(samples, self._folder)

        def images(rows: list[int]) -> StoredImages:
            chosen = [paths[row] for row in rows]
            where, wanted = self._folder, self.preprocessing
            return StoredImages(store, chosen, label[rows], where, wanted, self.exif_orientation)

        stated = [] if None in split else split
        return Listing(classes, label, stated, images, counted, notes)

    @cached_property
    def _shards(self) -> list[Path]:
        """All tars, in the order of their names."""
        folder = self.root.is_dir()
        found = sorted(self.root.rglob("*.tar")) if folder else expanded(str(self.root))
        if not found:
            raise UserError(
                f"There is no tar in {str(self.root)!r}: give `--data WebDataset:FOLDER` or a "
                "pattern like WebDataset:data/train-{000..009}.tar."
            )
        return found

    @cached_property
    def _folder(self) -> Path:
        """The deepest folder that holds all tars."""
        if self.root.is_dir():
            return self.root
        first, *others = (shard.parent for shard in self._shards)
        places = (first, *first.parents)
        return next(place for place in places if all(o.is_relative_to(place) for o in others))

    def _split(self, shard: Path) -> Any:
        inside = shard.relative_to(self._folder).parent.parts
        folders = (self._folder.name, *inside)
        named = [split for part in reversed(folders) if (split := split_named(part))]
        return named[0] if named else split_mentioned(shard.stem)

    def _stated_names(self, notes: list[str]) -> list[str]:
        """Names of the classes as the user or a file beside the tars says them."""
        if self.class_names:
            return self.class_names
        for file in (self._folder / name for name in _CLASS_FILES):
            if file.is_file():
                notes.append(f"Classes are named as in `{file.name}`.")
                lines = file.read_text("utf-8-sig").rstrip().splitlines()
                return [line.strip() for line in lines]
        return []

    def _name(self, sample: Sample) -> str:
        """The label of a sample as it is written."""
        part = next((part for part in _LABEL_PARTS if part in sample.parts), None)
        told = f"{printable(sample.key)!r} in {str(sample.shard)!r}"
        if part is None:
            raise UserError(
                f"Expected a `.cls` or `.json` beside every image, but {told} has only "
                f"{', '.join(sample.parts)}."
            )
        try:
            text = sample.parts[part].read().decode().strip()
            value = text if part == "cls" else self._in_json(json.loads(text), told)
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"The `.{part}` of {told} cannot be read: {error}.") from None
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            raise UserError(f"Expected the label of {told} to be a class, but got {value!r}.")
        return str(value)

    def _in_json(self, content: Any, told: str) -> Any:
        if isinstance(content, dict):
            wanted = [self.label_key] if self.label_key else _LABEL_KEYS
            keys = [key for key in wanted if key in content]
            if len(keys) == 1:
                return content[keys[0]]
        raise UserError(
            f"Expected one of {', '.join(_LABEL_KEYS)} in the `.json` of {told}, but got "
            f"{str(content)[:80]}: give `--data.label_key`."
        )


class _Members:
    """The images of all tars, by their names below one folder."""

    def __init__(self, members: dict[str, Member]) -> None:
        self.members = members

    def read(self, name: str) -> bytes:
        """The bytes of an image."""
        return self.members[name].read()


def _store(samples: list[Sample], folder: Path) -> tuple[_Members, list[str]]:
    shards = {s.shard: s.shard.relative_to(folder).as_posix() for s in samples}
    names = [f"{shards[sample.shard]}/{sample.name}" for sample in samples]
    members = [sample.parts[sample.image_part] for sample in samples]
    return _Members(dict(zip(names, members, strict=True))), names


def _highest(numbers: list[str]) -> int:
    """The highest label, of as many classes as there can be."""
    highest = max(map(int, numbers))
    if highest >= _MOST:
        raise UserError(
            f"Expected labels below {_MOST:,}, but got {highest}: a `.cls` counts classes from 0."
        )
    return highest


def _class_of(number: str, names: list[str], sample: Sample) -> str:
    """The name of a class by its number; names that are numbers themselves stay."""
    if int(number) >= len(names):
        raise UserError(
            f"Expected labels 0 to {len(names) - 1} for the {len(names)} classes, but "
            f"{printable(sample.key)!r} in {str(sample.shard)!r} has {number}."
        )
    return names[int(number)]
