"""MNIST."""

from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import torchvision

from datamodules.errors import UserError
from datamodules.image_datamodule import ImageDataModule
from datamodules.images import MemoryImages
from datamodules.preprocessing import Preprocessing

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte") + (
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class MNIST(ImageDataModule):
    """70,000 handwritten digits, 28x28 grey, 10,000 of them for testing (LeCun et al. 1998)."""

    native: ClassVar[Preprocessing] = Preprocessing(channels=1, mean=(0.1307,), std=(0.3081,))
    epsilon: ClassVar[dict[str, float]] = {"Linf": 0.3, "L2": 1.5}
    classes = tuple("0123456789")

    def load(self, split: str) -> MemoryImages:
        """Reads the original files, below `root` or `root`/MNIST/raw, or downloads them."""
        root = self.root
        if any((root / "raw" / name).exists() for name in _FILES):
            root = root.parent  # the user named the folder MNIST itself
        try:
            present = all((root / "MNIST" / "raw" / name).exists() for name in _FILES)
            data = torchvision.datasets.MNIST(root, split != "test", download=not present)
        except (URLError, RuntimeError, OSError) as error:
            raise UserError(_absent(root)) from error
        return MemoryImages(data.data[:, None], data.targets)


def _absent(root: Path) -> str:
    files = "\n".join(f"  {root / 'MNIST' / 'raw' / name}" for name in _FILES)
    return f"MNIST is not there and cannot be downloaded. Expected the files\n{files}\nor --data.root."
