"""Images in memory or in files, behind the same few methods."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import pil_to_tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.preprocessing import Preprocessing


class Images(Protocol):
    """A split: labels and indices of its images, and whole batches of them."""

    label: Tensor
    index: Tensor
    preprocessing: Preprocessing

    def __len__(self) -> int: ...
    def __getitems__(self, rows: list[int]) -> Batch: ...
    def subset(self, rows: Tensor) -> "Images": ...
    def digest(self) -> str: ...


class MemoryImages(Dataset):
    """A split that fits into memory as one tensor: a batch is one gather.

    Args:
        image: `(N, C, H, W)` uint8, or float32 in [0, 1].
        label: `(N,)` int64.
        index: `(N,)` int64; None counts from 0.
        preprocessing: applied to each batch.
    """

    def __init__(
        self,
        image: Tensor,
        label: Tensor,
        index: Tensor | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.image, self.label = image, label.long()
        self.index = torch.arange(len(label)) if index is None else index.long()
        n = image.shape[1]
        as_it_is = Preprocessing(channels=n, mean=(0.0,) * n, std=(1.0,) * n)
        self.preprocessing = preprocessing or as_it_is

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        chosen = torch.as_tensor(rows)
        image = self.preprocessing.apply(self.image[chosen])
        return Batch(image, self.label[chosen], self.index[chosen])

    def subset(self, rows: Tensor) -> "MemoryImages":
        """Returns some of the images, with their indices."""
        parts = (self.image[rows], self.label[rows], self.index[rows])
        return MemoryImages(*parts, preprocessing=self.preprocessing)

    def digest(self) -> str:
        """Hashes pixels, labels and indices."""
        hashed = hashlib.sha256(str(self.image.shape).encode())
        for tensor in (self.image, self.label, self.index):
            hashed.update(tensor.contiguous().numpy())
        return hashed.hexdigest()


class FileImages(Dataset):
    """A split of image files, decoded to uint8 by the workers.

    Args:
        files: paths below `root`.
        label: `(N,)` int64.
        index: `(N,)` int64; None counts from 0.
        root: folder the files are named from.
        preprocessing: applied to each image; it must bring all to one size.
    """

    def __init__(
        self,
        files: Sequence[Path],
        label: Tensor,
        root: Path,
        preprocessing: Preprocessing,
        index: Tensor | None = None,
    ) -> None:
        self.files, self.label, self.root = list(files), label.long(), root
        self.index = torch.arange(len(label)) if index is None else index.long()
        self.preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        images = [self.preprocessing.apply(decoded(self.files[row])) for row in rows]
        if len({image.shape for image in images}) > 1:
            shapes = sorted({"x".join(map(str, image.shape[1:])) for image in images})
            raise UserError(
                f"Expected images of one size, but got {', '.join(shapes[:4])} (height x width) in "
                f"{str(self.root)!r}: give `--data.resize` and `--data.crop`."
            )
        return Batch(torch.stack(images), self.label[rows], self.index[rows])

    def subset(self, rows: Tensor) -> "FileImages":
        """Returns some of the images, with their indices."""
        files = [self.files[row] for row in rows.tolist()]
        label, index = self.label[rows], self.index[rows]
        return FileImages(files, label, self.root, self.preprocessing, index)

    def digest(self) -> str:
        """Hashes names below the root, sizes, labels and indices; it does not read the pixels."""
        hashed = hashlib.sha256()
        for file, label, index in zip(
            self.files, self.label.tolist(), self.index.tolist(), strict=True
        ):
            name = file.relative_to(self.root).as_posix()
            hashed.update(f"{name} {file.stat().st_size} {label} {index}\n".encode())
        return hashed.hexdigest()


def decoded(file: Path) -> Tensor:
    """Decodes a file to `(3, H, W)` uint8, turned as its EXIF orientation says.

    Raises:
        RuntimeError, OSError: the file is missing, empty or no image.
    """
    if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
        return decode_image(str(file), ImageReadMode.RGB, apply_exif_orientation=True)
    return pil_to_tensor(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
