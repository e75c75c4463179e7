"""Images in memory or in files, behind the same few methods."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
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

    def subset(self, rows: Tensor) -> "Images":
        """Returns some of the images, with their indices."""
        ...

    def digest(self) -> str:
        """Hashes what the images are, in their order."""
        ...

    def check(self) -> None:
        """Refuses images that the preprocessing cannot bring to one size."""
        ...


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
            hashed.update(tensor.numpy().tobytes())
        return hashed.hexdigest()

    def check(self) -> None:
        """Tries the preprocessing on one image, so that a mistake shows before the loop starts."""
        self.preprocessing.apply(self.image[:1])


class FileImages(Dataset):
    """A split of image files, decoded to uint8 by the workers.

    Args:
        files: paths below `root`.
        label: `(N,)` int64.
        root: folder the files are named from.
        preprocessing: applied to each image; it must bring all to one size.
        index: `(N,)` int64; None counts from 0.
        sizes: distinct (height, width) of the files, where they are known.
    """

    def __init__(
        self,
        files: Sequence[Path],
        label: Tensor,
        root: Path,
        preprocessing: Preprocessing,
        index: Tensor | None = None,
        sizes: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        self.files, self.label, self.root = list(files), label.long(), root
        self.index = torch.arange(len(label)) if index is None else index.long()
        self.preprocessing, self.sizes = preprocessing, sizes

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        images = [self.preprocessing.apply(decoded(self.files[row])) for row in rows]
        return Batch(torch.stack(images), self.label[rows], self.index[rows])

    def subset(self, rows: Tensor) -> "FileImages":
        """Returns some of the images, with their indices."""
        files = [self.files[row] for row in rows.tolist()]
        parts = (self.label[rows], self.root, self.preprocessing, self.index[rows])
        return FileImages(files, *parts, sizes=self.sizes)

    def digest(self) -> str:
        """Hashes names below the root, sizes, labels and indices; it does not read the pixels."""
        hashed = hashlib.sha256()
        for file, label, index in zip(
            self.files, self.label.tolist(), self.index.tolist(), strict=True
        ):
            name = file.relative_to(self.root).as_posix()
            size = file.stat().st_size if file.exists() else "missing"
            hashed.update(f"{name} {size} {label} {index}\n".encode())
        return hashed.hexdigest()

    def check(self) -> None:
        """Refuses images that would not come out in one size.

        Here and not where batches are stacked: what is raised in a worker arrives as a traceback.
        """
        smallest = sorted(self.sizes, key=min)[: 1 if self.preprocessing.one_size else None]
        shapes: dict[tuple[int, ...], None] = {}
        for size in smallest:
            blank = torch.zeros(3, *size, dtype=torch.uint8)
            shapes[tuple(self.preprocessing.apply(blank).shape[1:])] = None
            if len(shapes) > 1:
                one, other = ("x".join(map(str, shape)) for shape in shapes)
                raise UserError(
                    f"Expected images of one size, but got {one} and {other} (height x width) in "
                    f"{str(self.root)!r}: give `--data.resize` and `--data.crop`."
                )


def decoded(file: Path | BinaryIO) -> Tensor:
    """Decodes a file to `(3, H, W)` uint8, grey repeated, transparency dropped.

    Pillow and not `torchvision.io`, which is no faster and kills the process at a PNG with a
    flipped bit (torchvision 0.29). As in torchvision's and timm's own evaluations, the EXIF
    orientation is not applied, so that published accuracies are met.

    Raises:
        OSError, ValueError, SyntaxError: the file is missing, empty or no image.
    """
    with Image.open(file) as image:
        if image.mode == "F":
            raise ValueError("floating-point pixels have no stated range")
        if image.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
            grey = (np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8)
            return torch.from_numpy(grey)[None].repeat(3, 1, 1)
        return pil_to_tensor(image.convert("RGB"))
