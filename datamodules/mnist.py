"""MNIST."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torchvision
from torch import Tensor
from torchvision.datasets.mnist import read_image_file, read_label_file

from datamodules.downloads import absent, downloaded
from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import MemoryImages
from datamodules.preprocessing import Preprocessing

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class MNIST(ImageDataModule):
    """70,000 handwritten digits, 28x28 grey, 10,000 of them for testing (LeCun et al. 1998).

    `root` holds the four original files, itself or in `MNIST/raw` or `raw`; else they are
    downloaded to `MNIST/raw`.
    """

    native: ClassVar[Preprocessing] = Preprocessing(channels=1, mean=(0.1307,), std=(0.3081,))
    epsilon: ClassVar[dict[str, float]] = {"Linf": 0.3, "L2": 1.5}
    classes = tuple("0123456789")

    def load(self, split: str) -> MemoryImages:
        """Reads the two files of a split."""
        names = _FILES[split]
        reason = downloaded(
            self.root,
            lambda: self._folder(names) is not None,
            lambda: torchvision.datasets.MNIST(self.root, download=True),
        )
        folder = self._folder(names)
        if folder is None:
            raw = self.root / "MNIST" / "raw"
            files = "\n".join(f"  {raw / name}" for pair in _FILES.values() for name in pair)
            raise absent("MNIST", files, reason)
        images, labels = (folder / name for name in names)
        image, label = _read(images, read_image_file), _read(labels, read_label_file)
        if len(image) != len(label):
            raise UserError(
                f"Expected as many labels as images, but got {len(label):,} in {str(labels)!r} and "
                f"{len(image):,} in {str(images)!r}."
            )
        return MemoryImages(image[:, None], label)

    def _folder(self, names: tuple[str, ...]) -> Path | None:
        """The first of the usual folders that holds all the files."""
        places = (self.root / "MNIST" / "raw", self.root / "raw", self.root)
        return next((p for p in places if all((p / name).is_file() for name in names)), None)


def _read(file: Path, reader: Callable[[str], Tensor]) -> Tensor:
    """Reads an idx file.

    Raises:
        UserError: it is truncated or something else.
    """
    try:
        return reader(str(file))
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{str(file)!r} is damaged: expected an idx file as published, but got "
            f"{file.stat().st_size:,} bytes of something else. Delete it, to have it downloaded "
            "again."
        ) from error
