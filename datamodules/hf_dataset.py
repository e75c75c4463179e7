"""Data sets of Hugging Face's `datasets` library, from disk."""

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import UserError
from datamodules.folder_names import ClassOrder, split_mentioned, split_named
from datamodules.listed_data import ListedData, Listing, numbered
from datamodules.stored_images import StoredImages


class HFDataset(ListedData):
    """A folder of Hugging Face's `datasets`: what `save_to_disk` wrote, or Parquet files.

    Classes are those of the ClassLabel column, in its order. Splits are those of a DatasetDict, or
    of the files' names (`train-00000-of-00002.parquet`). Needs `pip install 'assay[datasets]'`.

    Args:
        root: the folder.
        image_column: of images; default: the only one.
        label_column: of labels; default: the only ClassLabel, else `label`.
        class_order: of labels that are texts: "text" sorts by name also where all are numbers.
        exif_orientation: whether photographs are turned as their EXIF orientation says.
        options: of `ImageDataModule`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        class_order: ClassOrder = "number",
        exif_orientation: bool = True,
        **options: Any,
    ) -> None:
        self.image_column, self.label_column = image_column, label_column
        self.class_order: ClassOrder = class_order
        self.exif_orientation = exif_orientation
        super().__init__(root, **options)

    def list_images(self) -> Listing:
        """Reads the labels of all splits."""
        notes: list[str] = []
        split: list[str] = []
        values: list[Any] = []
        names: list[str] = []
        tables: dict[str, Any] = {}
        known = self._class_names()
        for name, table in self._tables.items():
            kind = split_named(name) or split_mentioned(name)
            if len(self._tables) > 1 and kind is None:
                notes.append(f"The split {name!r} is none of train, val, test: left out.")
                continue
            image, label = self._columns(table)
            split += [kind] * len(table) if kind else []
            names += [f"{name or 'rows'}/{row}" for row in range(len(table))]
            own = getattr(table.features[label], "names", None)
            values += _renumbered(table[label][:], own, known, f"{label!r} of {name!r}")
            tables[name or "rows"] = table.select_columns(image)
        classes, label, counted = self._numbered(values, known)
        if counted:
            notes.append(f"Classes have no names: labels 0 to {len(classes) - 1} occur.")
        store = _Rows(tables)

        def images(rows: list[int]) -> StoredImages:
            chosen = [names[row] for row in rows]
            wanted = self.preprocessing
            return StoredImages(
                store, chosen, label[rows], self.root, wanted, self.exif_orientation
            )

        return Listing(classes, label, split, images, counted, notes)

    def _class_names(self) -> list[str] | None:
        """Those of the training split, else of the first that is used; None where none has any."""
        kinds = {name: split_named(name) or split_mentioned(name) for name in self._tables}
        used = [name for name in kinds if kinds[name] or len(kinds) == 1]
        if not used:
            return None
        table = self._tables[min(used, key=lambda name: kinds[name] != "train")]
        return getattr(table.features[self._columns(table)[1]], "names", None)

    def _numbered(self, values: list[Any], known: list[str] | None) -> tuple[Any, Any, bool]:
        """Classes and labels; whether the classes are only counted."""
        if bad := [v for v in values if not isinstance(v, str | int) or isinstance(v, bool)]:
            raise UserError(f"Expected one class as the label of every row, but got {bad[0]!r}.")
        if all(isinstance(value, str) for value in values):
            return *numbered(values, known or (), self.class_order), False
        low, high = min(values), max(values)
        if low < 0 or (known and high >= len(known)) or high > _MOST:
            raise UserError(
                f"Expected labels 0 to {len(known) - 1 if known else _MOST} in {str(self.root)!r}, "
                f"but got {low} to {high}: rows without a label are -1; take them away."
            )
        kinds = tuple(known or map(str, range(1 + high)))
        return kinds, numbered([str(v) for v in values], map(str, range(len(kinds))))[1], not known

    @cached_property
    def _tables(self) -> dict[str, Any]:
        """The data sets by the name of their split; "" where it has none."""
        try:
            library = importlib.import_module("datasets")
        except ImportError as error:
            raise UserError(
                "`datasets` is not installed: pip install 'assay[datasets]'."
            ) from error
        if not self.root.is_dir():
            raise UserError(
                f"There is no folder {str(self.root)!r}: give `--data HFDataset:FOLDER`."
            )
        files = sorted(self.root.rglob("*.parquet"))
        saved = any((self.root / f).is_file() for f in ("dataset_dict.json", "state.json"))
        if not files and not saved:
            raise UserError(
                f"Expected what `save_to_disk` wrote, or Parquet files, in {str(self.root)!r}, but "
                "got neither."
            )
        try:
            if not saved:
                return _from_parquet(files)
            found = library.load_from_disk(str(self.root))
        except UserError:
            raise
        except Exception as error:  # pyarrow and datasets raise classes of their own
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{str(self.root)!r} cannot be read: {first}") from error
        if isinstance(found, library.DatasetDict):
            return {str(name): table.with_format(None) for name, table in found.items()}
        return {"": found.with_format(None)}  # a format of its own hides columns, or makes tensors

    def _columns(self, table: Any) -> tuple[str, str]:
        """Names of the columns of images and of labels."""
        kinds = {name: type(feature).__name__ for name, feature in table.features.items()}
        labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
        labels = labels or [name for name in ("label",) if name in kinds]
        images = [name for name, kind in kinds.items() if kind == "Image"]
        chosen = [
            _only(self.image_column, images, "image_column", "Image", kinds),
            _only(self.label_column, labels, "label_column", "ClassLabel", kinds),
        ]
        if kinds[chosen[0]] != "Image":
            raise UserError(
                f"Expected `data.image_column` to be of Images, but {chosen[0]!r} is of "
                f"{kinds[chosen[0]]}."
            )
        return chosen[0], chosen[1]


def _renumbered(
    values: list[Any], own: list[str] | None, known: list[str] | None, where: str
) -> list[Any]:
    """The labels of a split by the names of all: every split may number its classes by itself."""
    if own == known or not values:
        return values
    if own is None or known is None or sorted(own) != sorted(known):
        raise UserError(
            f"Expected the classes of all splits to be the same, but {where} has {_few(own)} where "
            f"another split has {_few(known)}: cast all columns to one ClassLabel."
        )
    number = [known.index(name) for name in own]
    return [number[value] if value is not None and value >= 0 else value for value in values]


def _few(names: list[str] | None) -> str:
    return "no names" if names is None else ", ".join(names[:5]) + (", ..." if names[5:] else "")


_MOST = 1_000_000
"""Classes that numbers without names may stand for."""


class _Rows:
    """The images of all splits by `split/row`, undecoded."""

    def __init__(self, tables: dict[str, Any]) -> None:
        image = importlib.import_module("datasets").Image(decode=False)
        self.tables = {
            name: table.cast_column(table.column_names[0], image).with_format(None)
            for name, table in tables.items()
        }

    def read(self, name: str) -> bytes:
        """The bytes of an image, or of the file that it names."""
        split, _, row = name.rpartition("/")
        table = self.tables[split]
        content = table[int(row)][table.column_names[0]]
        if content is None:
            raise ValueError("no image in this row")
        return (
            content["bytes"] if content["bytes"] is not None else Path(content["path"]).read_bytes()
        )


def _from_parquet(files: list[Path]) -> dict[str, Any]:
    """Reads Parquet files into memory, by the split that their names tell."""
    library = importlib.import_module("datasets")
    parquet = importlib.import_module("pyarrow.parquet")
    by_split: dict[str, list[Any]] = {}
    for file in files:
        split = split_named(file.parent.name) or split_mentioned(file.stem) or ""
        by_split.setdefault(split, []).append(library.Dataset(_in_memory(parquet, file)))
    if "" in by_split and len(by_split) > 1:
        raise UserError(
            f"Expected every Parquet file in {str(files[0].parent)!r} to name train, val or test, "
            "or none, but some do and some do not."
        )
    return {split: library.concatenate_datasets(parts) for split, parts in by_split.items()}


def _in_memory(parquet: Any, file: Path) -> Any:
    table = importlib.import_module("datasets.table")
    return table.InMemoryTable(parquet.read_table(file))


def _only(given: str | None, found: list[str], option: str, what: str, kinds: Any) -> str:
    if given is None and len(found) == 1:
        return found[0]
    if given in kinds:
        return str(given)
    columns = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    raise UserError(f"Expected one column of {what}, but got {columns}: give `--data.{option}`.")
