"""Finds files that cannot be read as images before a long run meets them."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import torch
from PIL import Image, UnidentifiedImageError

from datamodules.decoding import ImageFacts
from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.images import FileImages

OnCorrupt = Literal["refuse", "skip"]
Value = TypeVar("Value")
_SHOWN = 5


def read_each(
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
        attempts = list(map(attempt, names) if threads == 1 else pool.map(attempt, names))
    values = {name: value for name, value in attempts if not isinstance(value, Exception)}
    return values, {
        name: _reason(error) for name, error in attempts if isinstance(error, Exception)
    }


def names_to_skip(
    broken: Mapping[str, str], total: int, place: Path, on_corrupt: OnCorrupt
) -> tuple[str, ...]:
    """Returns the printable names of broken files, which are to be left out.

    Args:
        broken: what is wrong with each, by name.
        total: files in all.
        place: they lie in.
        on_corrupt: "refuse" raises if there are any.

    Raises:
        UserError: there are broken files and they are not to be skipped, or all of them are broken.
    """
    if broken and (on_corrupt == "refuse" or len(broken) == total):
        first = list(broken.items())[:_SHOWN]
        shown = "\n".join(f"  {printable(name)}: {why}" for name, why in first)
        more = f"\n  and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
        fix = ", or leave them out with `--data.on_corrupt skip` (they are recorded)"
        raise UserError(
            f"{len(broken)} of {total} files read in {str(place)!r} cannot be read as images:\n"
            f"{shown}{more}\nMend them{fix if len(broken) < total else ''}."
        )
    return tuple(map(printable, broken))


def readable(
    images: FileImages, place: Path, on_corrupt: OnCorrupt
) -> tuple[FileImages, tuple[str, ...], list[str]]:
    """Decodes every file once and leaves out, or refuses, those that cannot be read.

    Args:
        images: files to be read.
        place: folder that the names in messages and records start from.
        on_corrupt: "refuse" raises, "skip" leaves out.

    Returns:
        The readable images, with their old indices and their shapes; the names of the others; and
        notes on the readable ones, to be shown with the results.

    Raises:
        UserError: a file is missing, empty or corrupt, and is not to be skipped.
    """
    names = [file.relative_to(place).as_posix() for file in images.files]
    facts, broken = read_each(
        lambda name: images.examined(place / name),
        names,
        threads=min(os.cpu_count() or 1, 16),
    )
    skipped = names_to_skip(broken, len(images), place, on_corrupt)
    good = [row for row, name in enumerate(names) if name in facts]
    left = images.subset(torch.tensor(good)) if skipped else images
    left.shapes = {}
    for name, fact in facts.items():
        left.shapes.setdefault(fact.shape, printable(name))
    return left, skipped, _notes(list(facts.values()))


def _notes(facts: list[ImageFacts]) -> list[str]:
    told = {
        "turned as their EXIF orientation says": [fact.turned for fact in facts],
        "transparent in parts, which show the colour below": [fact.transparent for fact in facts],
        "animated or of several pages, of which the first is shown": [f.frames for f in facts],
        "of 16-bit grey, rounded to 8 bits": [fact.sixteen_bit for fact in facts],
    }
    return [
        f"{sum(those):,} of {len(facts):,} images are {what}."
        for what, those in told.items()
        if any(those)
    ]


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    plain = isinstance(error, ValueError | Image.DecompressionBombError)
    return text if plain else f"corrupt ({text})"
