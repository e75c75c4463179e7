"""Any folder of images with a folder a class."""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from datamodules.errors import UserError
from datamodules.file_names import printable
from datamodules.folder_classes import common_classes
from datamodules.folder_files import listed_files
from datamodules.folder_layout import Layout, folder_layout
from datamodules.folder_names import ClassOrder
from datamodules.folder_scan import class_folders
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages
from datamodules.pixel_statistics import MeanStd
from datamodules.preprocessing import Preprocessing
from datamodules.splits import stratified_split

_TEST_FRACTION = 0.2


class ImageFolder(ImageDataModule):
    """Your own images: a folder a class, or `train/`, `val/`, `test/` with class folders in each.

    Splits may be named in other ways (`Test`, `training_set`, `valid`), and one folder may lie
    round everything. Without a test folder the validation folder is the test set, and validation
    images are split off from training; a single folder of class folders is split at random by the
    seed, stratified, with 20 % for testing. Classes are the folders that hold images, in
    alphabetical order; folders that are all numbers in the order of the numbers.

    Args:
        root: folder of the data.
        class_order: "text" sorts classes by name also where all names are numbers (0, 1, 10, 2),
            for a model that was trained so, as with torchvision's ImageFolder.
        exif_orientation: whether photographs are turned as their EXIF orientation says; torchvision
            and timm do not turn them.
        options: of `ImageDataModule`.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {"Linf": 4 / 255, "L2": 3.0}

    def __init__(
        self,
        root: Path | None = None,
        *,
        class_order: ClassOrder = "number",
        exif_orientation: bool = True,
        **options: Any,
    ) -> None:
        self.class_order: ClassOrder = class_order
        self.exif_orientation = exif_orientation
        super().__init__(root, **options)

    @cached_property  # tasks give a copy other classes
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the class folders, in the order of the labels."""
        return self._classes[0]

    @property
    def title(self) -> str:
        """With the folder's name, as two folders are two data sets."""
        return f"{self.name}:{self.root.resolve().name}"

    @property
    def has_val(self) -> bool:
        """Whether there is a validation folder that testing does not need."""
        splits = self._layout.splits
        return "val" in splits and splits["val"] != splits["test"]

    @cached_property
    def _layout(self) -> Layout:
        return folder_layout(self.root)

    @cached_property
    def _folders(self) -> dict[Path, dict[str, Path]]:
        """The class folders in the folder of each split, or in the only folder."""
        places = self._layout.splits.values() or [self._layout.root]
        return {place: class_folders(place) for place in places}

    @cached_property
    def _classes(self) -> tuple[tuple[str, ...], list[str]]:
        """The classes, and what is to be said about them."""
        return common_classes(self._folders, self.class_order)

    def load(self, split: str) -> FileImages:
        """Lists the files of a split, class by class, in alphabetical order."""
        splits, (_, about_classes) = self._layout.splits, self._classes
        for note in (*self._layout.notes, *about_classes):
            self.note(note)
        if not splits:
            return self._split_at_random(split)
        if split not in splits:
            there = sorted({folder.name for folder in splits.values()})
            raise UserError(
                f"Expected a folder {split!r} in {str(self._layout.root)!r}, but got only "
                f"{', '.join(there)}."
            )
        if split == "train" and not self.has_val:
            self.note(f"Validation: {self.val_fraction:.0%} of `train` (seed {self.seed}).")
        return self._listed(splits[split])

    def mean_std(self) -> MeanStd:
        """Measured on a few hundred training images; `native` is ImageNet's, not theirs."""
        return self._measured_mean_std()

    def _split_at_random(self, split: str) -> FileImages:
        everything = self._listed(self._layout.root)
        counts = everything.label.bincount(minlength=self.num_classes)
        if int(counts.min()) < 3:
            raise UserError(
                f"Expected at least 3 images a class to split {str(self.root)!r} into training, "
                f"validation and test images, but class {self.classes[int(counts.argmin())]!r} has "
                f"{int(counts.min())}."
            )
        self.note(f"Split at random: {_TEST_FRACTION:.0%} for testing (seed {self.seed}).")
        train, test = stratified_split(everything.label, _TEST_FRACTION, self.seed)
        return everything.subset(test if split == "test" else train)

    def _listed(self, place: Path) -> FileImages:
        folders = self._folders[place]
        found = listed_files({name: folders[name] for name in self.classes})
        label = torch.tensor(found.label)
        for note in found.notes(printable(place.name)):
            self.note(note)
        counts = label.bincount(minlength=self.num_classes)
        if empty := [self.classes[row] for row in (counts == 0).nonzero()[:, 0].tolist()]:
            self.note(f"`{printable(place.name)}` has no image of {', '.join(empty[:5])}.")
        return FileImages(found.files, label, place, self.preprocessing, turn=self.exif_orientation)
