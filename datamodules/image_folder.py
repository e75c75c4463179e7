"""Any folder of images with a folder a class."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import FileImages
from datamodules.preprocessing import Preprocessing
from datamodules.splits import stratified_split

_TEST_FRACTION = 0.2


class ImageFolder(ImageDataModule):
    """Your own images: a folder a class, or `train/`, `val/`, `test/` with class folders in each.

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
    def title(self) -> str:
        """With the folder's name, as two folders are two data sets."""
        return f"{self.name}:{self.root.resolve().name}"

    @property
    def has_val(self) -> bool:
        """Whether there is a folder `val` that testing does not need."""
        return "val" in self._folders and self._folders["val"] != self._folders.get("test")

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """The folder of each split that has one; {} for a single folder of classes."""
        if not self.root.is_dir():
            raise UserError(f"There is no folder {str(self.root)!r}: give `--data.root`.")
        found = {name: self.root / name for name in ("train", "val", "test")}
        found = {name: folder for name, folder in found.items() if folder.is_dir()}
        if "test" not in found and "val" in found:
            self.note("There is no folder `test`: `val` is the test set.")
            found["test"] = found["val"]
        if found and "test" not in found:
            raise UserError(
                f"Expected a folder `test` or `val` in {str(self.root)!r} beside `train`: add one, "
                f"or give `--data.root {self.root / 'train'}` to split that one at random."
            )
        return found

    @cached_property
    def _classes(self) -> tuple[str, ...]:
        folders = self._folders or {"": self.root}
        names = {folder: _class_names(folder) for folder in folders.values()}
        (folder, classes), *others = names.items()
        for other, theirs in others:
            if theirs != classes:
                absent = [f"{name!r} in {other.name!r}" for name in classes if name not in theirs]
                absent += [f"{name!r} in {folder.name!r}" for name in theirs if name not in classes]
                raise UserError(
                    f"Expected the same class folders in {folder.name!r} and {other.name!r} of "
                    f"{str(self.root)!r}, but there is no {', no '.join(absent[:5])}."
                )
        if len(classes) < 2:
            loose = sum(_is_image(str(file)) for file in folder.iterdir())
            raise UserError(
                f"Expected a folder a class, at least two, in {str(folder)!r}, but got "
                f"{', '.join(classes) or 'none'}"
                f"{f', and {loose} images outside of class folders' if loose else ''}."
            )
        return classes

    def load(self, split: str) -> FileImages:
        """Lists the files of a split in alphabetical order."""
        if not self._folders:
            return self._split_at_random(split)
        if split not in self._folders:
            there = sorted({folder.name for folder in self._folders.values()})
            raise UserError(
                f"Expected a folder {split!r} in {str(self.root)!r}, but got only "
                f"{', '.join(there)}."
            )
        if split == "train" and not self.has_val:
            self.note(f"Validation: {self.val_fraction:.0%} of `train` (seed {self.seed}).")
        return self._listed(self._folders[split])

    def _split_at_random(self, split: str) -> FileImages:
        everything = self._listed(self.root)
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

    def _listed(self, folder: Path) -> FileImages:
        numbers = {name: number for number, name in enumerate(self.classes)}
        found = make_dataset(folder, numbers, is_valid_file=_is_image, allow_empty=True)
        if empty := set(self.classes) - {self.classes[number] for _, number in found}:
            raise UserError(
                f"Expected images ({', '.join(IMG_EXTENSIONS)}) in {str(folder / min(empty))!r}, "
                "but there are none: add some, or take the folder away."
            )
        files = [Path(file) for file, _ in found]
        labels = torch.tensor([number for _, number in found])
        return FileImages(files, labels, folder, self.preprocessing)


def _class_names(folder: Path) -> tuple[str, ...]:
    entries = (entry for entry in folder.iterdir() if entry.is_dir())
    return tuple(sorted(entry.name for entry in entries if not entry.name.startswith(".")))


def _is_image(file: str) -> bool:
    """By its name; `._photo.jpg` and the like are left behind by file managers."""
    return file.lower().endswith(IMG_EXTENSIONS) and not Path(file).name.startswith(".")
