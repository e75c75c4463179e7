"""CIFAR-10, as the official batches, as class folders, or as tar files of class folders."""

import io
import tarfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import torch
import torchvision
from torch import Tensor

from datamodules.corrupt import names_to_skip, read_each
from datamodules.decoding import decoded
from datamodules.downloads import absent, downloaded
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import MemoryImages
from datamodules.preprocessing import Preprocessing, converted

_BATCHES = "cifar-10-batches-py"
_SUFFIXES = {"png": (".png",), "jpeg75": (".jpg", ".jpeg")}
_OFFICIAL = {"train": 50_000, "test": 10_000}


class CIFAR10(ImageDataModule):
    """60,000 photographs of 10 classes, 32x32 RGB, 10,000 of them for testing (Krizhevsky 2009).

    `root` holds the official `cifar-10-batches-py`, or folders `train/<class>/` and `test/<class>/`
    of PNG files, or uncompressed tar files `*train*png.tar` and `*test*png.tar` of such folders;
    else the official batches are downloaded. An index is the number in a file's name where these
    number the split, else its position by class and name.

    Args:
        root: folder of the data; default: the user's cache folder.
        test_archive: "jpeg75" tests on JPEG copies (`*test*jpeg75.tar`, or JPEG files in `test/`),
            which is another data set and bears another name.
        options: of `ImageDataModule`.
    """

    native: ClassVar[Preprocessing] = Preprocessing(
        mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)
    )
    epsilon: ClassVar[dict[str, float]] = {"Linf": 8 / 255, "L2": 0.5, "L1": 12.0}
    classes = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )

    def __init__(
        self,
        root: Path | None = None,
        *,
        test_archive: Literal["png", "jpeg75"] = "png",
        **options: Any,
    ) -> None:
        self.test_archive = test_archive
        super().__init__(root, **options)

    @property
    def name(self) -> str:
        """Tells the JPEG copies from CIFAR-10 itself."""
        return "CIFAR10" if self.test_archive == "png" else f"CIFAR10-{self.test_archive}"

    def load(self, split: str) -> MemoryImages:
        """Reads a split into memory from whichever form is there."""
        form = self.test_archive if split == "test" else "png"
        if form != "png":
            self.note("Test images are JPEG copies (quality 75): not CIFAR-10 test accuracy.")
        elif (folder := self._batches()) and folder.is_dir():
            return self._official(split)
        if (folder := self.root / split).is_dir():
            return self._from_files(_in_folder(folder, form), folder, split)
        if tar := self._tar(split, form):
            return self._from_files(_in_tar(tar, form), tar, split)
        expected = "\n".join(f"  {place}" for place in self._places(split, form))
        if form != "png":
            raise UserError(
                f"There are no JPEG copies of CIFAR-10's test set. Expected\n{expected}"
            )
        reason = downloaded(
            self.root,
            self._batches().is_dir,
            lambda: torchvision.datasets.CIFAR10(self.root, download=True),
        )
        if reason:
            raise absent("CIFAR-10", expected, reason)
        return self._official(split)

    def _batches(self) -> Path:
        """The official folder, which may be `root` itself."""
        return self.root if self.root.name == _BATCHES else self.root / _BATCHES

    def _official(self, split: str) -> MemoryImages:
        folder = self._batches()
        try:  # torchvision verifies the md5 before it unpickles
            data = torchvision.datasets.CIFAR10(folder.parent, train=split == "train")
        except RuntimeError as error:
            raise UserError(
                f"The official batches in {str(folder)!r} are not complete or not as published "
                "(md5). Delete the folder, to have them downloaded again."
            ) from error
        image = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return MemoryImages(image, torch.tensor(data.targets))

    def _tar(self, split: str, form: str) -> Path | None:
        archives = sorted(self.root.glob(f"*{split}*{form}.tar"))
        if len(archives) > 1:
            raise UserError(
                f"Expected one archive of the {split} images in {str(self.root)!r}, but got "
                f"{', '.join(file.name for file in archives)}: move the others away."
            )
        return archives[0] if archives else None

    def _places(self, split: str, form: str) -> list[str]:
        official = [f"{self._batches()}/ (the official batches), or"] if form == "png" else []
        suffix = _SUFFIXES[form][0]
        folders = f"{self.root / split}/<class>/*{suffix}, or"
        return [*official, folders, f"{self.root}/*{split}*{form}.tar"]

    def _from_files(self, contents: dict[str, bytes], place: Path, split: str) -> MemoryImages:
        """Decodes files by name ("cat/00000.png"), in the order of their numbers if any."""
        labels = self._labels(contents, place)
        numbers = _numbers(contents)
        names = sorted(contents, key=lambda name: (numbers.get(name, 0), name))
        index = {name: numbers.get(name, row) for row, name in enumerate(names)}
        images, broken = read_each(partial(_pixels, contents), names)
        self.skipped += names_to_skip(broken, len(names), place, self.on_corrupt)
        if len(names) < _OFFICIAL[split]:
            self.note(f"{len(names):,} of the {_OFFICIAL[split]:,} official {split} images.")
        return MemoryImages(
            torch.stack(list(images.values())),
            torch.tensor([labels[name] for name in images]),
            torch.tensor([index[name] for name in images]),
        )

    def _labels(self, names: Iterable[str], place: Path) -> dict[str, int]:
        folders = {name: PurePosixPath(name).parent.name for name in names}
        if not folders:
            raise UserError(
                f"Expected images <class>/*.png in {str(place)!r}, but there are none. JPEG copies "
                "are tested on with `--data.test_archive jpeg75`."
            )
        if unknown := sorted(set(folders.values()) - set(self.classes)):
            raise UserError(
                f"Expected class folders of CIFAR-10 in {str(place)!r}, but got "
                f"{unknown[:3]}: use `--data ImageFolder` for other classes."
            )
        return {name: self.classes.index(folder) for name, folder in folders.items()}


def _in_folder(folder: Path, form: str) -> dict[str, bytes]:
    files = (file for file in folder.glob("*/*") if file.suffix.lower() in _SUFFIXES[form])
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def _in_tar(tar: Path, form: str) -> dict[str, bytes]:
    """Reads the members straight from the archive; nothing is unpacked."""
    contents = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                path = PurePosixPath(member.name)
                if path.suffix.lower() in _SUFFIXES[form] and (file := archive.extractfile(member)):
                    contents["/".join(path.parts[-2:])] = file.read()
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f"The archive {str(tar)!r} is damaged ({error}): copy it again.") from error
    return contents


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """The number that each file is named, if they number the whole split; else {}."""
    stems = {name: PurePosixPath(name).stem for name in names}
    unique = len(set(stems.values())) == len(stems)
    if not (unique and all(stem.isdecimal() for stem in stems.values())):
        return {}
    return {name: int(stem) for name, stem in stems.items()}


def _pixels(contents: dict[str, bytes], name: str) -> Tensor:
    if not contents[name]:
        raise ValueError("empty")
    image = converted(decoded(io.BytesIO(contents[name])), 3)
    if image.shape != (3, 32, 32):
        raise ValueError(f"{image.shape[1]}x{image.shape[2]} pixels instead of 32x32")
    return image
