"""Any folder of images with a folder a class."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages
from datamodules.preprocessing import Preprocessing
from datamodules.splits import stratified_split

_TEST_FRACTION = 0.2


class ImageFolder(ImageDataModule):
    """Your own images: a folder a class, or `train/`, `val/`, `test/` with a folder a class in each.

    Without `test/`, the folder `val/` is the test set, and validation images are split off from
    `train/`; a single folder of class folders is split at random by the seed, stratified, with 20 %
    for testing. Classes are the folder names in alphabetical order.
    """

    native: ClassVar[Preprocessing] = Preprocessing()
    epsilon: ClassVar[dict[str, float]] = {"Linf": 4 / 255, "L2": 3.0}

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """Folder names in alphabetical order."""
        return self._classes

    @property
    def has_val(self) -> bool:  # type: ignore[override]
        """Validation images have a folder of their own, and testing does not need it."""
        return "val" in self._folders and self._folders["val"] != self._folders["test"]

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """The folder of each split that has one; {} for a single folder of classes."""
        if not self.root.is_dir():
            raise UserError(f"There is no folder {str(self.root)!r}: give `--data.root`.")
        found = {name: self.root / name for name in ("train", "val", "test")}
        found = {name: folder for name, folder in found.items() if folder.is_dir()}
        if "test" not in found and "val" in found:
            self.notes.append("There is no folder `test`: `val` is the test set.")
            found["test"] = found["val"]
        if found and "test" not in found:
            raise UserError(
                f"Expected a folder `test` or `val` in {str(self.root)!r} beside `train`."
            )
        return found

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        folders = self._folders or {"all": self.root}
        names = {split: _class_names(folder) for split, folder in folders.items()}
        if len(set(names.values())) > 1:
            first, *rest = names.items()
            other = next(item for item in rest if item[1] != first[1])
            raise UserError(
                f"Expected the same class folders in {first[0]!r} and {other[0]!r} of "
                f"{str(self.root)!r}, but only one of them has "
                f"{sorted(set(first[1]) ^ set(other[1]))}."
            )
        classes = next(iter(names.values()))
        if len(classes) < 2:
            raise UserError(
                f"Expected a folder a class, at least two, in {str(next(iter(folders.values())))!r}, "
                f"but got {list(classes)}."
            )
        return classes

    def load(self, split: str) -> FileImages:
        """Lists the files of a split in alphabetical order."""
        if folder := self._folders.get(split):
            return self._listed(folder)
        if self._folders:
            raise UserError(f"Expected a folder {split!r} in {str(self.root)!r}.")
        everything = self._listed(self.root)
        counts = everything.label.bincount(minlength=len(self.classes))
        if int(counts.min()) < 3:
            name = self.classes[int(counts.argmin())]
            raise UserError(
                f"Expected at least 3 images a class to split {str(self.root)!r} into training, "
                f"validation and test images, but class {name!r} has {int(counts.min())}."
            )
        note = f"Split at random: {_TEST_FRACTION:.0%} for testing (seed {self.seed})."
        if note not in self.notes:
            self.notes.append(note)
        train, test = stratified_split(everything.label, _TEST_FRACTION, self.seed)
        return everything.subset(test if split == "test" else train)

    def _listed(self, folder: Path) -> FileImages:
        files, labels = [], []
        for label, name in enumerate(self.classes):
            found = sorted(
                file for file in (folder / name).rglob("*") if file.suffix.lower() in IMG_EXTENSIONS
            )
            if not found:
                raise UserError(f"There are no images in {str(folder / name)!r}.")
            files += found
            labels += [label] * len(found)
        return FileImages(files, torch.tensor(labels), folder, self.preprocessing)


def _class_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
