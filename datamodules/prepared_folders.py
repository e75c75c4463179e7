"""Corrupted images in folders, as ImageNet-C is distributed, or any beside a clean twin."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from datamodules.content_hashes import content_hashes
from datamodules.corrupt import read_each
from datamodules.decoding import decoded, examined
from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_files import listed_files
from datamodules.folder_names import ordered_classes
from datamodules.folder_scan import class_folders, holds_images, subfolders
from datamodules.images import FileImages, Images
from datamodules.preprocessing import Preprocessing

CLEAN = "clean"
"""The folder of undisturbed twins."""
_LEVELS = ("1", "2", "3", "4", "5")
_DEEPEST = 3  # ImageNet-C has blur/defocus_blur/1


@dataclass(frozen=True)
class PreparedFolders:
    """`<corruption>/<severity>/<class>/<file>`; a file is found by its name in every cell.

    Args:
        root: of all folders.
        cells: the folder of every corruption and severity.
        turn: whether EXIF orientation is followed.
        files: of every cell, by index; filled by `rows_of`.
        shapes: a file for each (channels, height, width) that occurs; filled by `broken`.
    """

    root: Path
    cells: dict[tuple[str, int], Path]
    turn: bool = True
    files: dict[tuple[str, int], dict[int, Path]] = field(default_factory=dict, repr=False)
    shapes: dict[tuple[int, int, int], str] = field(default_factory=dict, repr=False)

    @property
    def told(self) -> str:
        """What was recognised."""
        used = {CLEAN, *(cell.relative_to(self.root).parts[0] for cell in self.cells.values())}
        left = [printable(p.name) for p in subfolders(self.root) if p.name not in used]
        beside = f" Not used: {', '.join(left)}." if left else ""
        most = max(map(len, self.severities.values()))
        return (
            f"Folders as of ImageNet-C, paired by file name: {len(self.severities)} corruptions of "
            f"up to {most} severities.{beside}"
        )

    @property
    def severities(self) -> dict[str, tuple[int, ...]]:
        """Of every corruption."""
        names = dict.fromkeys(name for name, _ in self.cells)
        return {
            name: tuple(sorted(level for other, level in self.cells if other == name))
            for name in names
        }

    def rows_of(self, clean: Images) -> Tensor:
        """Rows of the undisturbed images that every cell has a file for.

        Raises:
            UserError: the undisturbed images have no file names, or no name is in every cell.
        """
        if not isinstance(clean, FileImages):
            raise UserError(
                f"Expected undisturbed images in files to be paired with {str(self.root)!r} by "
                "their names, but they are in arrays or archives: give `--data.clean` a folder."
            )
        keys = [_key(file, clean.root) for file in clean.files]
        there = {cell: _by_key(folder) for cell, folder in self.cells.items()}
        common = set.intersection(*(set(files) for files in there.values()))
        rows = [row for row, key in enumerate(keys) if key in common]
        if not rows:
            (name, level), least = min(there.items(), key=lambda pair: len(set(keys) & {*pair[1]}))
            raise UserError(
                f"No undisturbed image has its name in every cell of {str(self.root)!r} "
                f"({name} {level} has {len(set(keys) & {*least})} of {len(keys):,}; the first is "
                f"'{keys[0]}'): names must be <class>/<file> alike in all folders."
            )
        for cell, files in there.items():
            self.files[cell] = {int(clean.index[row]): files[keys[row]] for row in rows}
        return torch.tensor(rows)

    def stand_in(self) -> tuple[FileImages, tuple[str, ...]]:
        """The mildest images of the first corruption, where nobody has the undisturbed ones."""
        return class_images(next(iter(self.cells.values())), self.turn)

    def images(self, corruption: str, severity: int, index: Tensor) -> list[Tensor]:
        """`(C, H, W)` uint8 images of pictures."""
        files = self.files[corruption, severity]
        return [decoded(files[i], self.turn) for i in index.tolist()]

    def digest(self, corruption: str, index: Tensor) -> str:
        """Hashes the bytes of a corruption's files of these pictures, and which is which."""
        hashed = hashlib.sha256()
        for (name, level), files in self.files.items():
            if name == corruption:
                chosen = [files[i] for i in index.tolist()]
                contents = content_hashes(chosen, self.root)
                hashed.update(f"{level} {index.tolist()} {contents}".encode())
        return hashed.hexdigest()

    def broken(self, index: Tensor) -> dict[str, tuple[str, int]]:
        """Decodes every file once: why some cannot be, and of which picture they are, by name."""
        wanted = set(index.tolist())
        of = {
            file.relative_to(self.root).as_posix(): i
            for files in self.files.values()
            for i, file in files.items()
            if i in wanted
        }
        threads = min(os.cpu_count() or 1, 16)
        facts, wrong = read_each(lambda n: examined(self.root / n, self.turn), [*of], threads)
        for name, fact in facts.items():
            self.shapes.setdefault(fact.shape, printable(name))
        return {name: (why, of[name]) for name, why in wrong.items()}


def open_folders(root: Path, turn: bool, severity: int | None) -> PreparedFolders:
    """Finds the folders of corruptions and severities, however deep they lie.

    Args:
        root: holds them, and possibly `clean`.
        turn: follow EXIF orientation.
        severity: of folders beside `clean` that have no folders 1 to 5 inside.

    Raises:
        UserError: there are none, or one name twice.
    """
    clean = root / CLEAN
    classes = set(class_folders(clean)) if clean.is_dir() else set()
    cells: dict[tuple[str, int], Path] = {}
    for (name, level), folder in _found(root, classes, severity, _DEEPEST):
        if (name, level) in cells:
            raise UserError(
                f"Expected each corruption once, but both {str(cells[name, level])!r} and "
                f"{str(folder)!r} are {name} {level}: take one away."
            )
        cells[name, level] = folder
    if not cells:
        raise UserError(
            "Expected <corruption>.npy with labels.npy, <corruption>/<1 to 5>/<class>/, or folders "
            f"beside `{CLEAN}` with the same files, in {str(root)!r}, but found none of them."
        )
    levels = {folder for folder in cells.values() if folder.name in _LEVELS}
    if severity is not None and len(levels) == len(cells):
        raise UserError(
            f"Expected no `data.severity`, but got {severity}: every corruption in {str(root)!r} "
            "has folders of severities."
        )
    return PreparedFolders(root, cells, turn)


def class_images(folder: Path, turn: bool) -> tuple[FileImages, tuple[str, ...]]:
    """All images of a folder with a folder a class, and the classes.

    Raises:
        UserError: there are fewer than two classes.
    """
    inside = {name: path for name, path in class_folders(folder).items() if holds_images(path)}
    classes = ordered_classes({name: path.name for name, path in inside.items()}, "text")
    if len(classes) < 2:
        raise UserError(
            f"Expected a folder a class, at least two with images, in {str(folder)!r}, but got "
            f"{', '.join(classes) or 'none'}."
        )
    found = listed_files({name: inside[name] for name in classes})
    label = torch.tensor(found.label)
    return FileImages(found.files, label, folder, Preprocessing(), turn=turn), classes


def _found(
    folder: Path, classes: set[str], severity: int | None, depth: int
) -> list[tuple[tuple[str, int], Path]]:
    """Corruptions with folders 1 to 5; beside clean images also ones with classes right inside."""
    cells: list[tuple[tuple[str, int], Path]] = []
    for inner in subfolders(folder):
        name, inside = printable(inner.name), subfolders(inner)
        if name == CLEAN or not inside:
            continue
        names = {path.name for path in inside}
        if _are_levels(inner, inside, classes):
            cells += [((name, int(path.name)), _filled(path)) for path in inside]
        elif names & classes:
            cells.append(((name, _stated(inner, severity)), inner))
        elif depth > 1:
            cells += _found(inner, classes, severity, depth - 1)
    return cells


def _are_levels(folder: Path, inside: Sequence[Path], classes: set[str]) -> bool:
    """Whether what is in a folder are severities; classes may be called 1 to 5 too."""
    names = {path.name for path in inside}
    if names <= classes and not all(map(subfolders, inside)):
        return False
    if names & {*_LEVELS} and not names <= {*_LEVELS} | classes:
        more = ", ".join(sorted(map(printable, names - {*_LEVELS}))[:3])
        raise UserError(
            f"Expected nothing but folders of severities 1 to 5 in {str(folder)!r}, but got {more} "
            "too: take away what is no severity."
        )
    return names <= {*_LEVELS}


def _stated(folder: Path, severity: int | None) -> int:
    if severity is None:
        raise UserError(
            f"Expected folders of severities 1 to 5 in {str(folder)!r}, but it holds classes: say "
            "which severity it is by `--data.severity`."
        )
    return severity


def _filled(folder: Path) -> Path:
    if not holds_images(folder):
        raise UserError(f"The folder {str(folder)!r} holds no image: fill it or take it away.")
    return folder


def _by_key(folder: Path) -> dict[str, Path]:
    """The files of a cell by their names below it, without suffix."""
    files: dict[str, Path] = {}
    for file in listed_files({folder.name: folder}).files:
        key = _key(file, folder)
        if key in files:
            raise UserError(
                f"{str(files[key])!r} and {str(file)!r} differ by suffix alone, so nobody can say "
                "which belongs to the undisturbed image: take one away."
            )
        files[key] = file
    return files


def _key(file: Path, root: Path) -> str:
    """`n01440764/ILSVRC2012_val_00000293`: JPEG and PNG copies of one picture are named alike."""
    return printable(file.relative_to(root).with_suffix("").as_posix())
