"""Images that are no files of their own: members of archives, rows of tables, items of objects."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from datamodules.content_hashes import UNREADABLE
from datamodules.decoding import ImageFacts, decoded, examined
from datamodules.images import FileImages
from datamodules.preprocessing import Preprocessing

Content = bytes | Image.Image | Tensor
"""Of an image file, what Pillow opened, or pixels `(C, H, W)` uint8 or float in [0, 1]."""


class Store(Protocol):
    """Gives what stands under a name, as often as it is asked; it goes to worker processes."""

    def read(self, name: str) -> Content:
        """What is under a name; what it raises tells that the image is corrupt."""
        ...


class StoredImages(FileImages):
    """A split of images under names that no file system knows, decoded by the workers.

    They are treated as files in everything: the same decoder, checks and notes.

    Args:
        store: that reads them.
        names: of the images, relative, with "/".
        label: `(N,)` int64.
        root: the place that names are told from; images are called by `root / name`.
        preprocessing: applied to each image.
        turn: whether the EXIF orientation is followed.
    """

    def __init__(
        self,
        store: Store,
        names: list[str],
        label: Tensor,
        root: Path,
        preprocessing: Preprocessing,
        turn: bool = True,
    ) -> None:
        super().__init__([root / name for name in names], label, root, preprocessing, turn=turn)
        self.store = store
        self._hashes: dict[Path, str] = {}  # shared with every part of it, as they cost a read

    def decoded(self, file: Path) -> Tensor:
        """The pixels of an image."""
        content = self._read(file)
        return content if isinstance(content, Tensor) else decoded(_opened(content), self.turn)

    def examined(self, file: Path) -> ImageFacts:
        """Proves that an image can be decoded."""
        content = self._read(file)
        if isinstance(content, Tensor):
            return ImageFacts(_shape(content), False, False, False, False)
        return examined(_opened(content), self.turn)

    def content_hashes(self, cache: Path | None = None) -> list[str]:
        """Hashes of the bytes, or of the pixels where nobody has the bytes; all are read."""
        for file in self.files:
            if file not in self._hashes:
                self._hashes[file] = self._hash(file)
        return [self._hashes[file] for file in self.files]

    def _read(self, file: Path) -> Content:
        return self.store.read(file.relative_to(self.root).as_posix())

    def _hash(self, file: Path) -> str:
        try:
            content = self._read(file)
            content = decoded(content, self.turn) if isinstance(content, Image.Image) else content
        except Exception:  # what readers raise on garbage has no common class
            return UNREADABLE
        if isinstance(content, Tensor):
            facts = f"{content.dtype} {tuple(content.shape)} ".encode()
            content = facts + content.contiguous().numpy().tobytes()
        return hashlib.sha256(content).hexdigest()


def _opened(content: bytes | Image.Image) -> Any:
    if isinstance(content, Image.Image):
        return content
    if not content:
        raise ValueError("empty")
    return BytesIO(content)


def _shape(image: Tensor) -> tuple[int, int, int]:
    """The shape of pixels that are an image.

    Raises:
        ValueError: they are none, or have no stated range.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or not image.numel():
        raise ValueError(f"expected (C, H, W) with 1 or 3 channels, but got {tuple(image.shape)}")
    if image.dtype == torch.uint8:
        return tuple(image.shape)  # type: ignore[return-value]
    if not image.is_floating_point():
        raise ValueError(f"expected uint8, or float in [0, 1], but got {image.dtype}")
    if not bool(((image >= 0) & (image <= 1)).all()):
        low, high = float(image.min()), float(image.max())
        raise ValueError(f"expected float in [0, 1], but got values from {low:g} to {high:g}")
    return tuple(image.shape)  # type: ignore[return-value]
