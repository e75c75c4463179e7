"""Images in memory or in files, behind the same few methods."""

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.batch import Batch
from datamodules.content_hashes import content_hashes
from datamodules.decoding import ImageFacts, decoded, examined
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
        turn: whether the EXIF orientation is followed.
        shapes: a file's name for each distinct (channels, height, width), where they are known.
    """

    def __init__(
        self,
        files: Sequence[Path],
        label: Tensor,
        root: Path,
        preprocessing: Preprocessing,
        index: Tensor | None = None,
        turn: bool = True,
        shapes: Mapping[tuple[int, int, int], str] | None = None,
    ) -> None:
        self.files, self.label, self.root = list(files), label.long(), root
        self.index = torch.arange(len(label)) if index is None else index.long()
        self.preprocessing, self.turn, self.shapes = preprocessing, turn, dict(shapes or {})

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        images = [self.preprocessing.apply(self.decoded(self.files[row])) for row in rows]
        return Batch(torch.stack(images), self.label[rows], self.index[rows])

    def subset(self, rows: Tensor) -> "FileImages":
        """Returns some of the images, with their indices."""
        part = copy.copy(self)
        part.files = [self.files[row] for row in rows.tolist()]
        part.label, part.index, part.shapes = self.label[rows], self.index[rows], dict(self.shapes)
        return part

    def decoded(self, file: Path) -> Tensor:
        """The pixels of one of the files, see `decoding.decoded`."""
        return decoded(file, self.turn)

    def examined(self, file: Path) -> ImageFacts:
        """Proves that one of the files can be decoded, see `decoding.examined`."""
        return examined(file, self.turn)

    def content_hashes(self, cache: Path | None = None) -> list[str]:
        """Hashes of what is in each file, see `content_hashes`."""
        return content_hashes(self.files, self.root, cache)

    def digest(self, cache: Path | None = None) -> str:
        """Hashes the bytes of the files, their names below the root, labels and indices.

        Args:
            cache: folder where hashes of unchanged files are remembered, see `content_hashes`.
        """
        hashed = hashlib.sha256()
        contents = self.content_hashes(cache)
        rows = zip(self.files, contents, self.label.tolist(), self.index.tolist(), strict=True)
        for file, content, label, index in rows:
            name = os.fsencode(file.relative_to(self.root).as_posix())
            hashed.update(name + f"\0{content} {label} {index}\n".encode())
        return hashed.hexdigest()

    def check(self) -> None:
        """Refuses images that would not come out in one size.

        Here and not where batches are stacked: what is raised in a worker arrives as a traceback.
        """
        sizes: dict[tuple[int, int], str] = {}
        for (_, height, width), name in self.shapes.items():
            sizes.setdefault(self._resized_size(height, width, name), name)
        if len(sizes) > 1 and self.preprocessing.crop is None:
            (one, first), (other, second), *_ = sizes.items()
            raise UserError(
                f"Expected images of one size, but got {one[0]}x{one[1]} ('{first}') and "
                f"{other[0]}x{other[1]} ('{second}', height x width) in {str(self.root)!r}: give "
                "`--data.resize` and `--data.crop`."
            )

    def _resized_size(self, height: int, width: int, name: str) -> tuple[int, int]:
        try:
            return self.preprocessing.resized_size(height, width)
        except UserError as error:
            raise UserError(f"'{name}': {error}") from None
