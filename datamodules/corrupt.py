"""Finds files that are no images before a long run meets them."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import torch
from PIL import Image, UnidentifiedImageError

from datamodules.errors import UserError
from datamodules.images import FileImages

OnCorrupt = Literal["refuse", "skip"]
Value = TypeVar("Value")
_SHOWN = 5


def tried(
    read: Callable[[str], Value], names: Sequence[str], threads: int = 1
) -> tuple[dict[str, Value], dict[str, str]]:
    """Reads everything and goes on after what cannot be read.

    Args:
        read: returns what a name stands for, or raises.
        names: in the order wanted.
        threads: to read in; they pay for photographs and cost at thumbnails.

    Returns:
        What could be read, and why the rest could not, by name.
    """

    def attempt(name: str) -> tuple[str, Value | Exception]:
        try:
            return name, read(name)
        except Exception as error:  # what Pillow raises on garbage has no common class
            return name, error

    with ThreadPoolExecutor(threads) as pool:
        tries = list(map(attempt, names) if threads == 1 else pool.map(attempt, names))
    well = {name: value for name, value in tries if not isinstance(value, Exception)}
    return well, {name: _reason(error) for name, error in tries if isinstance(error, Exception)}


def refused_or_skipped(
    broken: Mapping[str, str], total: int, place: Path, on_corrupt: OnCorrupt
) -> tuple[str, ...]:
    """Returns the names of broken files, which are to be left out.

    Args:
        broken: what is wrong with each, by name.
        total: files in all.
        place: they lie in.
        on_corrupt: "refuse" raises if there are any.

    Raises:
        UserError: there are broken files and they are not to be skipped, or all of them are broken.
    """
    if broken and (on_corrupt == "refuse" or len(broken) == total):
        shown = "\n".join(f"  {name}: {why}" for name, why in list(broken.items())[:_SHOWN])
        more = f"\n  and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        fix = ", or leave them out with `--data.on_corrupt skip` (they are recorded)"
        raise UserError(
            f"{len(broken)} of {total} files in {str(place)!r} cannot be read as images:\n"
            f"{shown}{more}\nMend them{fix if len(broken) < total else ''}."
        )
    return tuple(broken)


def readable(
    images: FileImages, place: Path, on_corrupt: OnCorrupt
) -> tuple[FileImages, tuple[str, ...]]:
    """Decodes every file once and leaves out, or refuses, those that cannot be read.

    Args:
        images: files to be read.
        place: folder that the names in messages and records start from.
        on_corrupt: "refuse" raises, "skip" leaves out.

    Returns:
        The readable images, with their old indices and their sizes, and the names of the others.

    Raises:
        UserError: a file is missing, empty or corrupt, and is not to be skipped.
    """
    names = [file.relative_to(place).as_posix() for file in images.files]
    sizes, broken = tried(
        lambda name: _size(place / name), names, threads=min(os.cpu_count() or 1, 16)
    )
    skipped = refused_or_skipped(broken, len(images), place, on_corrupt)
    good = [row for row, name in enumerate(names) if name in sizes]
    left = images.subset(torch.tensor(good)) if skipped else images
    left.sizes = frozenset(sizes.values())
    return left, skipped


def _size(file: Path) -> tuple[int, int]:
    """Decodes a file, which is the only proof that it can be, and returns (height, width)."""
    if file.stat().st_size == 0:
        raise ValueError("empty")
    with Image.open(file) as image:
        if image.mode == "F":
            raise ValueError("floating-point pixels have no stated range")
        image.load()
        return image.height, image.width


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if isinstance(error, ValueError) else f"corrupt ({text})"
