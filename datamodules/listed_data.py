"""Data sets that are a list: names of images, their classes, and the split of each."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.folder_names import ClassOrder, ordered_classes
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages
from datamodules.pixel_statistics import MeanStd
from datamodules.preprocessing import Preprocessing
from datamodules.splits import stratified_split

_TEST_FRACTION = 0.2


@dataclass
class Listing:
    """What is in a data set.

    Args:
        classes: their names, in the order of the labels.
        label: `(N,)` of all images.
        split: "train", "val" or "test" of each image; empty where nothing states them.
        images: makes the images of some rows; indices count from 0.
        counted: whether the classes are only the numbers that occur.
        notes: to be shown with the results.
    """

    classes: tuple[str, ...]
    label: Tensor
    split: list[str]
    images: Callable[[list[int]], FileImages]
    counted: bool = False
    notes: list[str] = field(default_factory=list)


class ListedData(ImageDataModule):
    """Serves the splits that a listing states, as `ImageFolder` serves those of folders.

    Without a test split the validation split is the test set; without either, 20 % are kept for
    testing, at random by the seed, stratified.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {"Linf": 4 / 255, "L2": 3.0}

    @abstractmethod
    def list_images(self) -> Listing:
        """Lists all images of the data set, without decoding them."""

    @cached_property
    def listing(self) -> Listing:
        """The list of all images.

        Raises:
            UserError: there are none.
        """
        listing = self.list_images()
        if not len(listing.label):
            raise UserError(f"Expected images in {str(self.root)!r}, but there are none.")
        return listing

    @cached_property  # tasks give a copy other classes
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """In the order of the labels."""
        return self.listing.classes

    @cached_property
    def classes_counted(self) -> bool:  # type: ignore[override]
        """Whether their number is only that of the labels that occur."""
        return self.listing.counted

    @property
    def title(self) -> str:
        """With what it is read from, as two of them are two data sets."""
        return f"{self.name}:{self.root.resolve().name}"

    @property
    def has_val(self) -> bool:
        """Whether there is a validation split that testing does not need."""
        return {"val", "test"} <= set(self.listing.split)

    def load(self, split: str) -> FileImages:
        """The images of a split, in the order of the list."""
        for note in self.listing.notes:
            self.note(note)
        there = set(self.listing.split)
        if there == {"train"}:
            self.note(
                "Only a training split is stated, so that images for testing are taken of it."
            )
        if there <= {"train"}:
            return self._split_at_random(split)
        wanted = split
        if split == "test" and split not in there and "val" in there:
            self.note("Without a test split the validation split is the test set.")
            wanted = "val"
        if wanted not in there:
            raise UserError(
                f"Expected a split {split!r} in {str(self.root)!r}, but got only "
                f"{', '.join(sorted(there))}."
            )
        if split == "train" and not self.has_val:
            self.note(f"Validation: {self.val_fraction:.0%} of `train` (seed {self.seed}).")
        rows = [row for row, name in enumerate(self.listing.split) if name == wanted]
        counts = self.listing.label[rows].bincount(minlength=self.num_classes)
        if empty := [self.classes[row] for row in (counts == 0).nonzero()[:, 0].tolist()]:
            self.note(f"`{wanted}` has no image of {', '.join(empty[:5])}.")
        return self.listing.images(rows)

    def mean_std(self) -> MeanStd:
        """Measured on a few hundred training images; `native` is ImageNet's, not theirs."""
        return self._measured_mean_std()

    def _split_at_random(self, split: str) -> FileImages:
        self.note(f"Split at random: {_TEST_FRACTION:.0%} for testing (seed {self.seed}).")
        train, test = stratified_split(self.listing.label, _TEST_FRACTION, self.seed)
        everything = self.listing.images(list(range(len(self.listing.label))))
        return everything.subset(test if split == "test" else train)


def numbered(
    names: Sequence[str], stated: Iterable[str] = (), order: ClassOrder = "number"
) -> tuple[tuple[str, ...], Tensor]:
    """Classes and labels of class names, one an image.

    Args:
        names: one an image.
        stated: all classes in their order, where the user or a file says them; else those that
            occur, in the order of `ordered_classes`.
        order: see `ordered_classes`.

    Raises:
        UserError: an image of a class that is not stated, or a class that is stated twice, or has
            no name; a missing value, or two spellings of a number, among numbers.
    """
    stated = tuple(stated)
    if bad := [name for name, count in Counter(stated).items() if not name or count > 1]:
        raise UserError(
            f"Expected class names that differ, none of them empty, but got {bad[0]!r}."
        )
    _refuse_missing({*names} - {*stated})
    if not stated and order == "number":
        _refuse_two_spellings({*names})
    classes = stated or ordered_classes({name: name for name in names}, order)
    number = {name: row for row, name in enumerate(classes)}
    if absent := sorted({*names} - {*number}):
        raise UserError(
            f"Expected images of the {len(classes)} stated classes only, but got "
            f"{', '.join(map(repr, absent[:5]))}."
        )
    return classes, torch.tensor([number[name] for name in names], dtype=torch.long)


_MISSING = ("", "nan", "none", "null", "n/a", "<na>")
"""What tables write where there is no value."""


def _refuse_missing(names: set[str]) -> None:
    """A class of a missing value's name is one only beside other words."""
    missing = sorted(name for name in names if name.casefold() in _MISSING)
    others = [name for name in names if name not in missing]
    if "" in missing or (missing and all(name[:1].isdigit() for name in others)):
        raise UserError(
            f"Expected a class as the label of every image, but got {missing[0]!r}, the mark of a "
            "missing value: take these images away, or name the class otherwise if it is one."
        )


def _refuse_two_spellings(names: set[str]) -> None:
    """`1` and `1.0` are what spreadsheets make of one class, and would count as two."""
    spelt: dict[float, str] = {}
    for name in sorted(name for name in names if re.fullmatch(r"\d+(\.0*)?", name)):
        other = spelt.setdefault(float(name), name)
        if other != name:
            raise UserError(
                f"Expected one spelling of every class, but got {other!r} and {name!r}: write one "
                "of them, or say `--data.class_order text` if they are two classes."
            )
