"""Which images of a split are used: so many, the first ones, or those that are listed."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.splits import limited

_FORMS = "a count, first:N, a list like [0, 5, 7], or indices:FILE"


@dataclass(frozen=True)
class Limit:
    """A part of the images of a split.

    Args:
        count: so many of every split, chosen at random, stratified; a larger count keeps the images
            of a smaller one.
        first: the first ones of the test split, by index.
        index: those of the test split with these indices.

    A first part and a list are for meeting a published number image by image; in training images,
    which come class by class from folders, they would leave classes out.
    """

    count: int | None = None
    first: int | None = None
    index: tuple[int, ...] | None = None

    def rows(self, label: Tensor, index: Tensor, split: str, seed: int) -> Tensor | None:
        """Chooses images of a split.

        Args:
            label: `(N,)`.
            index: `(N,)` of all images of the split.
            split: "train", "val" or "test".
            seed: of the choice, where it is random.

        Returns:
            Sorted rows, or None for all of them.

        Raises:
            UserError: an index that no image of the test split has.
        """
        if self.count is not None:
            return limited(label, self.count, seed) if self.count < len(label) else None
        if split != "test" or (self.first is None and self.index is None):
            return None
        if self.index is None:
            return index.argsort(stable=True)[: self.first].sort().values
        wanted = torch.tensor(self.index)
        if len(absent := wanted[~torch.isin(wanted, index)]):
            raise UserError(
                f"Expected `data.limit` to list indices of test images, but {len(absent)} of "
                f"{len(wanted)} are none, the first {int(absent[0])}: there are {len(index):,} "
                f"images, with indices from {int(index.min())} to {int(index.max())}."
            )
        return torch.isin(index, wanted).nonzero()[:, 0]


def parsed_limit(given: Any) -> Limit:
    """Reads what a user gives as `data.limit`.

    Args:
        given: None for all; a count; "first:N"; a list of indices; "indices:FILE", with a file of
            numbers, or a JSON list, or the `splits.json` of an earlier run.

    Raises:
        UserError: it is none of these.
    """
    if given is None:
        return Limit()
    if isinstance(given, Integral) and not isinstance(given, bool):
        return Limit(count=_at_least_one(int(given), "`data.limit`"))
    if hasattr(given, "tolist"):  # an array or a tensor
        given = given.tolist()
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Limit(index=_indices(given, "`data.limit`"))
    form, _, rest = str(given).partition(":")
    if form == "first" and re.fullmatch(r"[+-]?\d+", rest):
        return Limit(first=_at_least_one(int(rest), "the N of `data.limit first:N`"))
    if form == "indices" and rest:
        listed = _listed_in(Path(os.path.expanduser(rest)))
        return Limit(index=_indices(listed, f"the indices in {rest!r}"))
    raise UserError(f"Expected `data.limit` to be {_FORMS}, but got {given!r}.")


def _at_least_one(number: int, name: str) -> int:
    if number < 1:
        raise UserError(f"Expected {name} to be at least 1, but got {number}.")
    return number


def _indices(numbers: Sequence[Any], name: str) -> tuple[int, ...]:
    seen: set[int] = set()
    for number in numbers:
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 0:
            raise UserError(f"Expected {name} to be whole numbers from 0, but got {number!r}.")
        if number in seen:
            raise UserError(f"Expected {name} to name every image once, but got {number} twice.")
        seen.add(int(number))
    if not seen:
        raise UserError(f"Expected {name} to be at least one, but got none.")
    return tuple(sorted(seen))


def _listed_in(file: Path) -> list[Any]:
    """The numbers in a text file, a JSON list, or the test indices of a run's `splits.json`."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise UserError(
            f"Expected `data.limit indices:FILE` to name a file of numbers, but {str(file)!r} "
            f"cannot be read ({reason})."
        ) from None
    try:
        content = json.loads(text)
    except ValueError:
        words = re.split(r"[\s,;]+", text.strip())
        return [int(word) if re.fullmatch(r"\d+", word) else word for word in words if word]
    content = content.get("test", content) if isinstance(content, dict) else content
    return content if isinstance(content, list) else [content]
