"""What is in a folder, with links, without what tools leave behind."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_names import is_image, is_left_behind


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders in a folder by name, without link loops and what tools left behind."""
    entries = (entry for entry in scanned(folder) if is_folder(entry))
    return sorted(
        Path(entry.path)
        for entry in entries
        if not is_left_behind(entry.name) and not leads_above(entry, folder)
    )


def scanned(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yields what is in a folder.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise UserError(
            f"The folder {str(folder)!r} cannot be listed ({error.strerror}): give yourself the "
            "permission to read it, or take it away."
        ) from None


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def leads_above(entry: os.DirEntry[str], folder: Path) -> bool:
    """Whether an entry is a link to the folder or to one round it: a loop."""
    return entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve())


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what is behind a path; None where there is nothing, or no number."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def holds_images(folder: Path, seen: set[tuple[int, int] | None] | None = None) -> bool:
    """Whether there is an image in a folder or below; looks no further than the first."""
    seen = set() if seen is None else seen
    here = identity(folder)
    if here in seen:
        return False
    seen.add(here)
    inner = []
    for entry in scanned(folder):
        if is_folder(entry):
            inner.append(entry)
        elif is_image(entry.name):
            return True
    return any(holds_images(Path(e.path), seen) for e in inner if not is_left_behind(e.name))


def class_folders(folder: Path) -> dict[str, Path]:
    """Returns the class folders by name; names that look the same in Unicode are the same.

    Raises:
        UserError: two folders whose names differ only in how letters are composed.
    """
    folders: dict[str, Path] = {}
    for path in subfolders(folder):
        name = printable(unicodedata.normalize("NFC", path.name))
        if name in folders:
            raise UserError(
                f"The folders {folders[name].name!a} and {path.name!a} in {str(folder)!r} "
                f"have one name, {name!r}, composed in two ways: join them, or rename one."
            )
        folders[name] = path
    return folders
