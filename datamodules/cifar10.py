"""CIFAR-10, as the official batches, as class folders, or as tar files of class folders."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import torch
import torchvision
from PIL import Image

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import MemoryImages
from datamodules.preprocessing import Preprocessing


class CIFAR10(ImageDataModule):
    """60,000 photographs of 10 classes, 32x32 RGB, 10,000 of them for testing (Krizhevsky 2009).

    `root` holds the official `cifar-10-batches-py`, or folders `train/<class>/` and `test/<class>/`
    of PNG files, or uncompressed tar files `*train*png.tar` and `*test*png.tar` of such folders. An
    index is the number in a file's name where there is one, else its position.
    """

    native: ClassVar[Preprocessing] = Preprocessing(
        mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)
    )
    epsilon: ClassVar[dict[str, float]] = {"Linf": 8 / 255, "L2": 0.5}
    classes = (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )

    def load(self, split: str) -> MemoryImages:
        """Reads a split into memory from whichever form is there."""
        if (folder := self.root / split).is_dir():
            return self._joined(_in_folder(folder), folder)
        if tars := sorted(self.root.glob(f"*{split}*png.tar")):
            return self._joined(_in_tar(tars[0]), tars[0])
        try:
            present = (self.root / "cifar-10-batches-py").is_dir()
            data = torchvision.datasets.CIFAR10(self.root, split != "test", download=not present)
        except (URLError, RuntimeError, OSError) as error:
            raise UserError(_absent(self.root, split)) from error
        image = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
        return MemoryImages(image, torch.tensor(data.targets))

    def _joined(self, files: Iterator[tuple[str, str, np.ndarray]], place: Path) -> MemoryImages:
        """Stacks (class, file name, pixels) in the order of the file numbers."""
        found = list(files)
        if strangers := {name for name, _, _ in found} - set(self.classes):
            raise UserError(
                f"Expected the ten class folders of CIFAR-10 in {str(place)!r}, but got "
                f"{sorted(strangers)[:3]}: use `--data ImageFolder` for other classes."
            )
        if not found:
            raise UserError(f"Expected PNG files below {str(place)!r}, but there are none.")
        found.sort(key=lambda item: (Path(item[1]).stem, item[0]))
        numbers = [Path(name).stem for _, name, _ in found]
        numbered = all(map(str.isdecimal, numbers)) and len(set(numbers)) == len(numbers)
        label = torch.tensor([self.classes.index(name) for name, _, _ in found])
        image = torch.from_numpy(np.stack([pixels for _, _, pixels in found]))
        index = torch.tensor([int(number) for number in numbers]) if numbered else None
        return MemoryImages(image.permute(0, 3, 1, 2).contiguous(), label, index)


def _in_folder(folder: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    for file in sorted(folder.glob("*/*.png")):
        yield file.parent.name, file.name, _pixels(file.read_bytes(), str(file))


def _in_tar(tar: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """Reads the members straight from the archive; nothing is unpacked."""
    with tarfile.open(tar) as archive:
        for member in archive:
            if member.name.endswith(".png") and (file := archive.extractfile(member)):
                path = Path(member.name)
                yield path.parent.name, path.name, _pixels(file.read(), member.name)


def _pixels(data: bytes, name: str) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError) as error:
        raise UserError(f"{name!r} is not an image: take it out or mend it.") from error


def _absent(root: Path, split: str) -> str:
    return (
        "CIFAR-10 is not there and cannot be downloaded. Expected one of\n"
        f"  {root / 'cifar-10-batches-py'}/ (the official batches)\n"
        f"  {root / split}/<class>/*.png\n"
        f"  {root}/*{split}*png.tar\n"
        "or --data.root."
    )
