"""The first pictures of one attack and radius, by sample index, also on disk."""

from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from callbacks.adversarial.pictures.eight_bit import EightBit


class Picture(NamedTuple):
    """One adversarial image beside its original.

    Args:
        image: `(C, H, W)` uint8.
        origin: `(C, H, W)` uint8.
        drawn: see `EightBit`.
        rounded: see `EightBit`.
    """

    image: np.ndarray
    origin: np.ndarray
    drawn: bool
    rounded: bool


class PictureStore:
    """Keeps the pictures of lowest index.

    Args:
        count: how many at most.
        folder: of the rows that they belong to; None keeps them in memory.
    """

    def __init__(self, count: int, folder: Path | None = None) -> None:
        self.count, self.folder = count, folder
        self.found: dict[int, Picture] = {}

    def wanted(self, index: list[int]) -> list[int]:
        """Positions of those that are among the first of all that were seen so far."""
        first = set(sorted({*self.found, *index})[: self.count])
        return [place for place, one in enumerate(index) if one in first]

    def add(self, index: list[int], pictures: EightBit) -> None:
        """Takes pictures in, and lets those go that are no longer among the first."""
        columns = [part.cpu().numpy() for part in pictures]
        for one, *parts in zip(index, *columns, strict=True):
            self.found[one] = Picture(*parts)
        self.found = {one: self.found[one] for one in sorted(self.found)[: self.count]}

    def save(self, who: str) -> None:
        """Writes `pictures-WHO.npz` beside the rows, whole or not at all."""
        if self.folder is None or not self.found or not self.folder.is_dir():
            return
        columns = [np.stack(column) for column in zip(*self.found.values(), strict=True)]
        named: dict[str, Any] = dict(zip(Picture._fields, columns, strict=True))
        unfinished = self.folder / f"{who}.part.npz"
        np.savez_compressed(unfinished, index=list(self.found), **named)
        unfinished.replace(self.folder / f"pictures-{who}.npz")

    def load(self) -> None:
        """Takes in what this and other processes have written; a spoiled file is passed over."""
        for file in sorted(self.folder.glob("pictures-*.npz")) if self.folder else []:
            self.found |= _read(file)


def _read(file: Path) -> dict[int, Picture]:
    try:
        read = dict(np.load(file))
        columns = [read[name] for name in Picture._fields]
        return {
            one: Picture(*parts)
            for one, *parts in zip(read["index"].tolist(), *columns, strict=True)
        }
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}
