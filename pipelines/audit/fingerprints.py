"""What is kept of every image after it was decoded once: digest, thumbnail, plain statistics."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.decoding import decoded
from datamodules.images import FileImages, Images, MemoryImages
from datamodules.preprocessing import in_unit_range
from pipelines.audit.perceptual_hash import SIDE

_BLOCK = 256


@dataclass(frozen=True)
class Fingerprints:
    """Of all images of a split, as they are stored, before any preprocessing.

    Args:
        index: `(N,)`.
        label: `(N,)`.
        files: their names below the folder of the data; empty where they are no files.
        digest: SHA-256 of shape and pixels.
        thumbnail: `(N, 32, 32)` grey in [0, 1].
        statistics: a line an image: brightness, contrast, ..., see `_statistics`.
    """

    index: Tensor
    label: Tensor
    files: list[str] = field(repr=False)
    digest: list[str] = field(repr=False)
    thumbnail: Tensor = field(repr=False)
    statistics: pd.DataFrame = field(repr=False)

    def __len__(self) -> int:
        return len(self.index)

    def name(self, row: int) -> str:
        """The file of an image, or nothing."""
        return self.files[row] if self.files else ""


def fingerprints(images: Images) -> Fingerprints:
    """Reads every image of a split once."""
    digest: list[str] = []
    thumbnails: list[Tensor] = []
    statistics: list[pd.DataFrame] = []
    for block in stored(images):
        digest += pixel_digests(block)
        shown = in_unit_range(block)
        thumbnails.append(_thumbnail(shown))
        statistics.append(_statistics(shown))
    files = []
    if isinstance(images, FileImages):
        files = [file.relative_to(images.root).as_posix() for file in images.files]
    table = pd.concat(statistics, ignore_index=True)
    return Fingerprints(images.index, images.label, files, digest, torch.cat(thumbnails), table)


def pixel_digests(block: Tensor) -> list[str]:
    """SHA-256 of shape and pixels of each image of a block `(n, C, H, W)`."""
    shape = str(tuple(block.shape[1:])).encode()
    kept = block.contiguous().numpy()
    return [hashlib.sha256(shape + pixels.tobytes()).hexdigest() for pixels in kept]


def stored(images: Images, rows: list[int] | None = None) -> Iterator[Tensor]:
    """Images in their own size, in order, in blocks `(n, C, H, W)` of equal sizes.

    Args:
        images: in memory, in files, or of another kind, which is asked for what it serves.
        rows: of some of them.
    """
    chosen = list(range(len(images))) if rows is None else rows
    for first in range(0, len(chosen), _BLOCK):
        part = chosen[first : first + _BLOCK]
        if isinstance(images, MemoryImages):
            yield images.image[torch.tensor(part)]
        elif isinstance(images, FileImages):
            with ThreadPoolExecutor(4) as pool:
                files = [images.files[row] for row in part]
                yield from (
                    image[None] for image in pool.map(partial(decoded, turn=images.turn), files)
                )
        else:
            yield images.__getitems__(part).image


def _thumbnail(image: Tensor) -> Tensor:
    """`(N, 32, 32)` grey; whatever shape the image has, it is squeezed into a square."""
    grey = image.mean(1, keepdim=True)
    return F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True)[:, 0]


def _statistics(image: Tensor) -> pd.DataFrame:
    """Brightness, contrast (standard deviation), darkest and lightest value, detail, colour, size.

    Detail is the mean step between neighbours, colour the mean range over channels.
    """
    pixels = image.flatten(1)
    down, across = (image.diff(dim=axis).abs().flatten(1) for axis in (2, 3))
    columns = {
        "brightness": pixels.mean(1),
        "contrast": pixels.std(1, correction=0),
        "darkest": pixels.amin(1),
        "lightest": pixels.amax(1),
        "detail": torch.cat([down, across], 1).mean(1),
        "colour": (image.amax(1) - image.amin(1)).flatten(1).mean(1),
    }
    frame = pd.DataFrame({name: values.double().numpy() for name, values in columns.items()})
    height, width = image.shape[-2:]
    return frame.assign(height=height, width=width)
