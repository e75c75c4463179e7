"""Corrupted images in arrays, as CIFAR-10-C and CIFAR-100-C are distributed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.content_hashes import content_hashes
from datamodules.errors import UserError
from datamodules.images import Images, MemoryImages

LABELS = "labels.npy"
_CLEAN = "clean.npy"
_SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class PreparedArrays:
    """`<corruption>.npy`, the severities one after the other, beside `labels.npy`.

    The arrays stay on disk: a batch reads its own images only.

    Args:
        root: folder of the files.
        label: `(N,)` of the pictures, once.
        severities: of every corruption, in the order of its blocks of N images.
        arrays: `(severities x N, H, W, C)` uint8, mapped from disk.
    """

    root: Path
    label: Tensor
    severities: dict[str, tuple[int, ...]]
    arrays: dict[str, np.ndarray]

    @property
    def told(self) -> str:
        """What was recognised."""
        count, most = len(self.arrays), max(map(len, self.severities.values()))
        return (
            f"Arrays as of CIFAR-10-C: {count} corruptions of up to {most} severities, "
            f"{len(self.label):,} pictures each."
        )

    @property
    def shapes(self) -> dict[tuple[int, int, int], str]:
        """A file for each (channels, height, width) that occurs."""
        return {(a.shape[3], *a.shape[1:3]): f"{name}.npy" for name, a in self.arrays.items()}

    def rows_of(self, clean: Images) -> Tensor:
        """Rows of the undisturbed images that are here too: an index is a place in the arrays.

        Raises:
            UserError: labels differ, so that these are other pictures or another order.
        """
        rows = (clean.index < len(self.label)).nonzero()[:, 0]
        wrong = (self.label[clean.index[rows]] != clean.label[rows]).nonzero()[:, 0]
        if len(wrong):
            first = int(clean.index[rows[wrong[0]]])
            raise UserError(
                f"Expected the labels of the undisturbed images in {str(self.root / LABELS)!r}, "
                f"but {len(wrong):,} of {len(rows):,} differ, that of picture {first} first: the "
                "arrays are of other pictures, or in another order."
            )
        return rows

    def stand_in(self) -> tuple[MemoryImages, None]:
        """The mildest images of the first corruption, where nobody has the undisturbed ones."""
        name, index = next(iter(self.arrays)), torch.arange(len(self.label))
        image = torch.stack(self.images(name, self.severities[name][0], index))
        return MemoryImages(image, self.label), None  # their classes have no names

    def images(self, corruption: str, severity: int, index: Tensor) -> list[Tensor]:
        """`(C, H, W)` uint8 images of pictures."""
        first = self.severities[corruption].index(severity) * len(self.label)
        chosen = self.arrays[corruption][first + index.numpy()]
        return [*torch.from_numpy(chosen).movedim(-1, 1)]

    def digest(self, corruption: str, index: Tensor) -> str:
        """Hashes the bytes of a corruption's file, and the labels."""
        files = [self.root / f"{corruption}.npy", self.root / LABELS]
        hashed = hashlib.sha256("".join(content_hashes(files, self.root)).encode())
        return hashed.hexdigest()

    def broken(self, index: Tensor) -> dict[str, tuple[str, int]]:
        """None: an array is whole, or cannot be opened."""
        return {}


def open_arrays(root: Path, severity: int | None) -> PreparedArrays:
    """Opens the arrays of a folder.

    Args:
        root: holds `labels.npy` and an array a corruption.
        severity: of arrays that are as long as the labels; others hold five severities.

    Raises:
        UserError: there are none, or they are not what they should be.
    """
    files = [file for file in sorted(root.glob("*.npy")) if file.name != LABELS]
    if not files:
        raise UserError(f"Expected <corruption>.npy beside {LABELS!r} in {str(root)!r}: none is.")
    if root / _CLEAN in files:
        raise UserError(
            f"Expected arrays of corruptions in {str(root)!r}, but {_CLEAN!r} is none: take it "
            "away, and give the undisturbed images by `--data.clean`."
        )
    arrays = {file.stem: _pictures(file) for file in files}
    label = _once(_labels(root / LABELS), {len(array) for array in arrays.values()}, severity)
    severities = {
        file.stem: _severities(file, len(arrays[file.stem]), len(label), severity) for file in files
    }
    if severity is not None and all(len(found) > 1 for found in severities.values()):
        raise UserError(
            f"Expected no `data.severity`, but got {severity}: every array in {str(root)!r} holds "
            "five severities."
        )
    return PreparedArrays(root, label, severities, arrays)


def _labels(file: Path) -> Tensor:
    """As they are stored."""
    label = _loaded(file)
    if label.ndim != 1 or not np.issubdtype(label.dtype, np.integer) or not len(label):
        raise UserError(
            f"Expected {str(file)!r} to hold a whole number for each picture, but got "
            f"{label.dtype} {label.shape}."
        )
    return torch.from_numpy(label.astype(np.int64))


def _once(label: Tensor, lengths: set[int], severity: int | None) -> Tensor:
    """The labels of the pictures, once: CIFAR-10-C repeats them for each of its five severities.

    Raises:
        UserError: they are all alike, so that nobody can say whether they are repeated.
    """
    count = len(label)
    fifth = label[: count // 5]
    if count % 5 or (label.reshape(5, -1) != fifth).any() or 5 * count in lengths:
        return label
    if count in lengths and (label == label[0]).all():
        if severity is None:
            raise UserError(
                f"All {count:,} labels are alike, so nobody can say whether arrays of {count:,} "
                f"images hold five severities of {len(fifth):,} pictures or one: save the labels "
                f"of {len(fifth):,} pictures once, or say `--data.severity`."
            )
        return label
    return fifth


def _severities(file: Path, length: int, pictures: int, severity: int | None) -> tuple[int, ...]:
    if length == 5 * pictures:
        return _SEVERITIES
    if length != pictures:
        raise UserError(
            f"Expected {5 * pictures:,} images in {file.name!r}, five severities of the "
            f"{pictures:,} labelled pictures, or {pictures:,} of one severity, but got "
            f"{length:,}: a part of a set is cut from every severity alike."
        )
    if severity is None:
        raise UserError(
            f"Expected five severities in {file.name!r}, but it has an image for each of the "
            f"{pictures:,} labels: say which severity they are by `--data.severity`."
        )
    return (severity,)


def _pictures(file: Path) -> np.ndarray:
    """The array of a corruption, mapped, in the one form that nothing has to be guessed of."""
    found = _loaded(file)
    if found.dtype != np.uint8:
        raise UserError(
            f"Expected uint8 images (0 to 255) in {str(file)!r}, but got {found.dtype}: multiply "
            "what is in [0, 1] by 255, round, and save it as uint8."
        )
    found = found[..., None] if found.ndim == 3 else found
    if found.ndim != 4 or found.shape[3] not in (1, 3):
        first = found.ndim == 4 and found.shape[1] in (1, 3)
        fix = ": move the channels to the end (array.transpose(0, 2, 3, 1))" if first else ""
        raise UserError(
            f"Expected images (N, height, width, 1 or 3) in {str(file)!r}, but got "
            f"{found.shape}{fix}."
        )
    return found


def _loaded(file: Path) -> np.ndarray:
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(
            f"There is no {file.name!r} in {str(file.parent)!r}, so no labels: copy it from where "
            "the arrays are from."
        ) from None
    except (ValueError, OSError, EOFError) as error:
        raise UserError(
            f"The array {str(file)!r} is damaged or none ({str(error).splitlines()[0]}): copy it "
            "again."
        ) from None
