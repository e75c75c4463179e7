"""JPEG."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.corruption.borders import inside
from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import constant, graded
from callbacks.randomness import Draw

# Quantisation at quality 50 (ITU-T T.81, annex K), of brightness and of colour.
_BRIGHTNESS = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
_COLOUR = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *4 * (8 * (99,),),
)  # fmt: skip
# sqrt(8) times the orthogonal cosine transform in 13-bit fixed point (Loeffler et al. 1989): sums
# of rounded constants, hence not symmetric in the last bit.
_COSINE = (
    (8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363),
    (10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703),
    (9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633),
    (8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437),
    (4433, -10704, 10704, -4433, -4433, 10704, -10704, 4433),
    (2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260),
)
_GREY = 128
_HALF = 1 << 15


@dataclass(frozen=True)
class JPEGCompression:
    """Strong JPEG compression."""

    name: ClassVar[str] = "jpeg_compression"
    title: ClassVar[str] = "JPEG compression"
    constants: ClassVar[Constants] = Constants(
        levels(25, 18, 15, 10, 7),
        levels(80, 65, 58, 50, 40),
        levels(65, 58, 50, 40, 25),
        levels(23, 16, 13, 8, 5),
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, quality: float) -> Tensor:
        """Goes through JPEG with colours at half the resolution (4:2:0); see `Corruption`."""
        grey = (255 * image).round()
        if image.shape[1] == 1:
            return _coded(grey, _table(_BRIGHTNESS, round(quality), image)) / 255
        brightness, colour = _split(grey)
        colour = _coded(_halved(colour), _table(_COLOUR, round(quality), image))
        brightness = _coded(brightness, _table(_BRIGHTNESS, round(quality), image))
        return _joined(brightness, _doubled(colour, *image.shape[-2:])) / 255


def _table(at_50: tuple[tuple[int, ...], ...], quality: int, like: Tensor) -> Tensor:
    """Quantisation steps `(8, 8)` at a quality of 1 to 100, as the Independent JPEG Group does."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = ((min(255, max(1, (at * percent + 50) // 100)) for at in row) for row in at_50)
    return constant(tuple(map(tuple, steps)), like)


def _coded(plane: Tensor, table: Tensor) -> Tensor:
    """Quantises the cosine transform of 8 x 8 blocks; values in [0, 255], whole.

    With the library's own rounding: 13-bit constants, two more bits between rows and columns.
    """
    height, width = plane.shape[-2:]
    padded = _padded(plane, 8, 8) - _GREY
    blocks = padded.double().unfold(2, 8, 8).unfold(3, 8, 8)
    cosine = constant(_COSINE, blocks)
    rows = _shifted(blocks @ cosine.T, 11)
    eightfold = _shifted(cosine @ rows, 15)
    coefficient = (eightfold.abs() / (8 * table) + 0.5).floor() * eightfold.sign() * table
    columns = _shifted(cosine.T @ coefficient, 11)
    restored = _shifted(columns @ cosine, 18).transpose(3, 4).reshape(padded.shape).to(plane)
    return (restored + _GREY).clamp(0, 255)[..., :height, :width]


def _shifted(number: Tensor, bits: int) -> Tensor:
    """Whole numbers over 2^bits, rounded; halves up."""
    return (number / 2**bits + 0.5).floor()


def _split(image: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness `(N, 1, H, W)` and colour `(N, 2, H, W)` (BT.601, full range), whole.

    In 16-bit fixed point: near grey, halves are frequent, and which way they go shows.
    """
    red, green, blue = image.int().unbind(1)
    brightness = 19595 * red + 38470 * green + 7471 * blue + _HALF
    blueness = -11059 * red - 21709 * green + 32768 * blue + _HALF - 1
    redness = 32768 * red - 27439 * green - 5329 * blue + _HALF - 1
    colour = torch.stack([blueness, redness], 1) >> 16
    return (brightness >> 16)[:, None].to(image), colour.to(image) + _GREY


def _joined(brightness: Tensor, colour: Tensor) -> Tensor:
    """The inverse of `_split`."""
    blueness, redness = (colour - _GREY).int().split(1, 1)
    red = 91881 * redness + _HALF
    green = -22554 * blueness - 46802 * redness + _HALF
    blue = 116130 * blueness + _HALF
    return brightness + (torch.cat([red, green, blue], 1) >> 16)


def _halved(plane: Tensor) -> Tensor:
    """Means of 2 x 2, whose halves are rounded down and up in turn."""
    padded = _padded(plane, 2, 16)
    total = 4 * F.avg_pool2d(padded, 2)
    bias = 1 + torch.arange(total.shape[-1], device=plane.device) % 2
    return ((total.round() + bias) / 4).floor()


def _doubled(plane: Tensor, height: int, width: int) -> Tensor:
    """Twice the size by a triangle filter, or by repetition where the plane is too narrow."""
    plane = plane[..., : -(-height // 2), : -(-width // 2)]
    if plane.shape[-1] > 2:
        large = F.interpolate(plane, scale_factor=2, mode="bilinear")
        # Sixteenths; halves are rounded up and down in turn.
        half = (8 - torch.arange(large.shape[-1], device=plane.device) % 2) / 16
        large = (large + half).floor()
    else:
        large = F.interpolate(plane, scale_factor=2)
    return large[..., :height, :width]


def _padded(plane: Tensor, rows: int, columns: int) -> Tensor:
    """Repeats the last row and column up to a multiple."""
    height, width = plane.shape[-2:]
    row, column = (
        inside(torch.arange(-(-size // unit) * unit, device=plane.device), size, "nearest")
        for size, unit in ((height, rows), (width, columns))
    )
    return plane.index_select(2, row).index_select(3, column)
