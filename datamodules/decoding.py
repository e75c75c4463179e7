"""Image files of any kind to 8-bit tensors, in the file's own channels."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

DECODER = 2
"""Version: raise it when the tensor of some file changes, so that stored rows become unknown."""

_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_GREY = ("1", "L", "LA", "La")
_CERTAIN = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_TURNS: dict[int, Callable[[Tensor], Tensor]] = {
    2: lambda image: image.flip(2),
    3: lambda image: image.flip(1, 2),
    4: lambda image: image.flip(1),
    5: lambda image: image.transpose(1, 2),
    6: lambda image: image.rot90(-1, (1, 2)),
    7: lambda image: image.transpose(1, 2).flip(1, 2),
    8: lambda image: image.rot90(1, (1, 2)),
}
"""What stands an image upright, by its EXIF orientation."""


class ImageFacts(NamedTuple):
    """What a file holds beside its pixels, for what is said about a data set.

    Args:
        shape: (channels, height, width) as decoded.
        turned: whether its EXIF orientation was followed.
        transparent: whether some pixel is, which is dropped.
        frames: whether there are more than the first.
        sixteen_bit: whether grey levels were rounded to 8 bits.
    """

    shape: tuple[int, int, int]
    turned: bool
    transparent: bool
    frames: bool
    sixteen_bit: bool


def decoded(file: Path | BinaryIO | Image.Image, turn: bool = True) -> Tensor:
    """Decodes the first frame of a file to `(1, H, W)` or `(3, H, W)` uint8.

    Pillow and not `torchvision.io`, which is no faster and kills the process at a PNG with a
    flipped bit (torchvision 0.29).

    Args:
        file: path, what is in the file, or what Pillow has opened.
        turn: follow the EXIF orientation. torchvision and timm do not; a TIFF is always turned, by
            Pillow.

    Raises:
        OSError, ValueError, SyntaxError: the file is missing, empty, no image, or one whose pixels
            have no stated range.
    """
    with _opened(file) as image:
        image.load()
        turned = _TURNS.get(_orientation(image)) if turn else None
        return turned(pixels(image)) if turned else pixels(image)


def examined(file: Path | BinaryIO | Image.Image, turn: bool = True) -> ImageFacts:
    """Decodes a file, which is the only proof that it can be, and tells what is in it."""
    with _opened(file) as image:
        image.load()
        # Modes that always convert need not be converted to be sure, which would double the time.
        sure = image.mode in _CERTAIN
        channels = (1 if image.mode in _GREY else 3) if sure else len(pixels(image))
        orientation = _orientation(image) if turn else 1
        size = image.size if orientation >= 5 else image.size[::-1]
        return ImageFacts(
            shape=(channels, *size),
            turned=orientation != 1,
            transparent=_is_transparent(image),
            frames=getattr(image, "is_animated", False),
            sixteen_bit=image.mode.startswith("I"),
        )


def pixels(image: Image.Image) -> Tensor:
    """Converts an image of Pillow to `(1, H, W)` or `(3, H, W)` uint8.

    Grey stays grey; palettes, CMYK, YCbCr and LAB become RGB; transparency is dropped, which shows
    the colour below it, as torchvision and timm do; 16 bits of grey are rounded to 8.

    Raises:
        ValueError: floating-point or 32-bit pixels, whose white nobody states.
    """
    if image.mode.startswith("I"):
        return _rounded_to_8_bits(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    return pil_to_tensor(image.convert("L" if image.mode in _GREY else "RGB"))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 2 to 8, or 1 for upright and for what is none.

    After `load`, which turns a TIFF by itself and then no longer tells its orientation.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata do no harm to the pixels, and Pillow's errors vary
        return 1
    return orientation if orientation in _TURNS else 1


def _opened(file: Path | BinaryIO | Image.Image) -> Image.Image:
    """Opens a regular file that is not empty: a named pipe would never end."""
    if isinstance(file, Image.Image):
        return file
    if isinstance(file, Path):
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size == 0:
            raise ValueError("empty")
    return Image.open(file)


def _rounded_to_8_bits(image: Image.Image) -> Tensor:
    """Scales grey levels of stated depth; Pillow would cut them off at 255."""
    tags = getattr(image, "tag_v2", {})
    bits = int(tags.get(258, (16,))[0])  # BitsPerSample of a TIFF: 12 or 16
    # Pillow reads 16 bits of PNG, PPM as "I", scaled to 65535; any other "I" is 32 bits or signed.
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise ValueError(f"{bits}-bit pixels that may be signed have no stated range")
    grey = np.asarray(image).astype(np.int64).clip(0, 2**bits - 1)
    if tags.get(262) == 0:  # PhotometricInterpretation: white is 0, which Pillow forgets here
        grey = 2**bits - 1 - grey
    white = 2**bits - 1
    return torch.from_numpy(((grey * 255 + white // 2) // white).astype(np.uint8))[None]


def _is_transparent(image: Image.Image) -> bool:
    if image.mode not in _ALPHA and "transparency" not in image.info:
        return False
    low, _ = image.convert("RGBA").getchannel("A").getextrema()
    return int(low) < 255  # type: ignore[arg-type]  # one channel gives two numbers
