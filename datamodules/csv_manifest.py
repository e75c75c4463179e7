"""A table of image files: path, label and, if it is stated, split."""

import csv
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.errors import UserError, suggestion
from datamodules.file_names import printable
from datamodules.folder_names import ClassOrder, split_named
from datamodules.images import FileImages
from datamodules.listed_data import ListedData, Listing, numbered


class _Entry(NamedTuple):
    file: Path
    label: str
    split: str | None
    line: int


class CSV(ListedData):
    """Your own images as a table lists them: `path,label` or `path,label,split`, with a header.

    Paths are relative to the table. Classes are the labels, in alphabetical order, or in the order
    of the numbers where all are numbers; splits may be named in other ways (`valid`, `Test`).

    Args:
        root: the table, or a folder that holds one (`.csv`, or `.tsv` with tabs).
        path_column: that names the image files.
        label_column: that names their classes.
        split_column: that names train, val or test; default: `split`, where there is one.
        delimiter: between columns; default: a comma, and a tab in `.tsv`.
        class_names: all classes in the order of the labels, where no alphabet has it.
        class_order: "text" sorts classes by name also where all names are numbers.
        exif_orientation: whether photographs are turned as their EXIF orientation says.
        options: of `ImageDataModule`.
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str | None = None,
        delimiter: str | None = None,
        class_names: list[str] | None = None,
        class_order: ClassOrder = "number",
        exif_orientation: bool = True,
        **options: Any,
    ) -> None:
        if delimiter is not None and len(delimiter) != 1:
            raise UserError(f"Expected `data.delimiter` of one character, but got {delimiter!r}.")
        self.path_column, self.label_column = path_column, label_column
        self.split_column, self.delimiter = split_column, delimiter
        self.class_names = class_names or []
        self.class_order: ClassOrder = class_order
        self.exif_orientation = exif_orientation
        super().__init__(root, **options)

    @property
    def files_in(self) -> Path:
        """The deepest folder that holds the table and all its images."""
        folder = self._table().absolute().parent
        files = [os.path.dirname(entry.file) for entry in self._entries[0]]
        return Path(os.path.commonpath([folder, *files]))

    def list_images(self) -> Listing:
        """Reads the table."""
        entries, notes = self._entries[0], [*self._entries[1]]
        place = self.files_in
        folder = self._table().absolute().parent
        if outside := sum(not entry.file.is_relative_to(folder) for entry in entries):
            notes.append(f"{outside:,} images lie outside of the folder of {self._table().name!r}.")
        stated = [entry.split for entry in entries if entry.split]
        classes, label = numbered(
            [entry.label for entry in entries], self.class_names, self.class_order
        )
        files = [entry.file for entry in entries]

        def images(rows: list[int]) -> FileImages:
            chosen = [files[row] for row in rows]
            turn = self.exif_orientation
            return FileImages(chosen, label[rows], place, self.preprocessing, turn=turn)

        return Listing(classes, label, stated, images, notes=notes)

    def _table(self) -> Path:
        if not self.root.is_dir():
            return self.root
        found = sorted(file for file in self.root.iterdir() if file.suffix in (".csv", ".tsv"))
        if len(found) != 1:
            names = ", ".join(printable(file.name) for file in found[:5]) or "none"
            raise UserError(
                f"Expected one table in {str(self.root)!r}, but got {names}: give "
                "`--data CSV:FILE`."
            )
        return found[0]

    @cached_property
    def _entries(self) -> tuple[list[_Entry], list[str]]:
        """The lines of the table, each file once, and what is to be said of them."""
        entries: dict[Path, _Entry] = {}
        repeated = 0
        for entry in self._lines():
            other = entries.setdefault(entry.file, entry)
            if (other.label, other.split) != (entry.label, entry.split):
                raise UserError(
                    f"Expected every image once in {str(self._table())!r}, but lines {other.line} "
                    f"and {entry.line} give {printable(entry.file)!r} as {other.label!r} in "
                    f"{other.split or 'no split'} and {entry.label!r} in "
                    f"{entry.split or 'no split'}: take one away."
                )
            repeated += other is not entry
        said = f"{repeated:,} lines repeat others of {self._table().name!r}: counted once."
        return list(entries.values()), [said] * bool(repeated)

    def _lines(self) -> Iterator[_Entry]:
        table, rows = self._table(), self._rows()
        header = next(rows, (0, []))[1]
        at_path, at_label, at_split = self._columns(header)
        folder = table.absolute().parent
        for line, row in rows:
            if len(row) != len(header) or not row[at_path] or not row[at_label]:
                raise UserError(
                    f"Expected {','.join(header)} in line {line} of {str(table)!r}, but got "
                    f"{','.join(row)!r}: fill in path and label, and quote what holds a delimiter."
                )
            split = None if at_split is None else self._split(row[at_split], line)
            file = _plain(folder / os.path.expanduser(row[at_path]))
            yield _Entry(file, row[at_label], split, line)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells, without the spaces round them and without empty lines."""
        table = self._table()
        delimiter = self.delimiter or ("\t" if table.suffix == ".tsv" else ",")
        try:
            # utf-8-sig: spreadsheets put a byte order mark before the first column's name
            with table.open(newline="", encoding="utf-8-sig") as text:
                reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
                for row in reader:
                    if any(cell.strip() for cell in row):
                        yield reader.line_num, [cell.strip() for cell in row]
        except FileNotFoundError:
            raise UserError(
                f"There is no table {str(table)!r}: give `--data CSV:manifest.csv`."
            ) from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise UserError(
                f"{str(table)!r} cannot be read as a table in UTF-8: {error}."
            ) from error

    def _columns(self, header: Sequence[str]) -> tuple[int, int, int | None]:
        """Places of path, label and, if there is one, split."""
        named = self.split_column
        if named is None and any(name.casefold() == "split" for name in header):
            named = "split"
        return (
            self._column(header, self.path_column, "path_column"),
            self._column(header, self.label_column, "label_column"),
            None if named is None else self._column(header, named, "split_column"),
        )

    def _column(self, header: Sequence[str], name: str, option: str) -> int:
        """The place of a column as it is spelt, else in capital or small letters."""
        found = [at for at, one in enumerate(header) if one == name] or [
            at for at, one in enumerate(header) if one.casefold() == name.casefold()
        ]
        if len(found) == 1:
            return found[0]
        raise UserError(
            f"Expected one column {name!r} in the first line of {str(self._table())!r}, but got "
            f"{', '.join(map(repr, header)) or 'nothing'}: write a header, or give "
            f"`--data.{option}`.{suggestion(name, header) if len(header) > 1 else ''}"
        )

    def _split(self, word: str, line: int) -> str:
        split = split_named(word)
        if split is None:
            raise UserError(
                f"Expected train, val or test as the split in line {line} of "
                f"{str(self._table())!r}, but got {word!r}."
            )
        return split


def _plain(file: Path) -> Path:
    """Without `.` and `..`, which beyond a link to a folder is not the folder that is written."""
    plain, place = Path(os.path.normpath(file)), os.path.realpath(file.parent)
    if ".." in file.parts and os.path.realpath(plain.parent) != place:
        return Path(place, file.name)
    return plain
