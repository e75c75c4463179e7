"""Superpixels: patches that follow the edges of their own image (SLIC)."""

import math
from itertools import product

import torch
from torch import Tensor

from datamodules.errors import UserError

# From linear sRGB to CIE XYZ by the white of D65 (IEC 61966-2-1, 1999), hence rows that sum to 1.
_XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
# Colours are rounded to 1/16384: whole numbers have the same sum in any order, float32 holds them.
_UNIT = 2**14


def superpixels(
    image: Tensor, count: int, compactness: float = 30.0, iterations: int = 10
) -> Tensor:
    """Groups pixels that are near in place and colour (SLIC; Achanta et al. 2012, TPAMI 34(11)).

    k-means on (colour, place) with D² = colour² + (compactness / step)²·place², where `step` is the
    side of a start cell. Colour is CIELAB as in the paper, because its distances are those that
    are seen and the usual compactness is in its units; see `lightness_and_colour` for grey images.

    Where it differs from the paper: a pixel chooses among the centres of the 3 x 3 start cells
    round its own, as in gSLICr (1509.04232, 2015), not among those that come near; centres start
    as means of their cells and are not moved off edges; stray pixels are not handed to a neighbour,
    so a segment may have several pieces.

    An image's labels do not depend on its neighbours in the batch, nor on the order of additions.
    Memory is a few copies of the image, not one for each centre, and nothing is read back from the
    device.

    Args:
        image: `(N, C, H, W)` in [0, 1]; sRGB if C is 3.
        count: superpixels, S.
        compactness: colour difference in CIELAB units that weighs as much as one step; the larger,
            the squarer the segments. The paper uses 1 to 40, and 10 for many small segments; of
            49 on photos of 224² a quarter of the pixels is then cut off from the bulk of its
            segment, at 30 it is 7 %.
        iterations: of k-means; the paper's 10.

    Returns:
        `(N, H, W)` int64 in [0, S), every image with the same S. A label may have no pixel: its
        centre lost all of them, or S does not cut into rows and columns (`start_grid`).

    Raises:
        UserError: `count`, `compactness` or `iterations` is out of range.
    """
    height, width = image.shape[-2:]
    _check(count, compactness, iterations, height * width)
    rows, columns = start_grid(height, width, count)
    row, column = (
        torch.arange(side, device=image.device) * cells // side
        for side, cells in ((height, rows), (width, columns))
    )
    near = _neighbours(row, rows), _neighbours(column, columns)
    whole, weight = _features(image, compactness / math.sqrt(height * width / (rows * columns)))
    point = whole.float() * weight
    label = (row[:, None] * columns + column).expand(len(image), -1, -1)
    centre = torch.zeros(len(image), whole.shape[1], count, device=image.device)
    for _ in range(iterations):
        centre = _means(whole.flatten(2), label.flatten(1), centre)
        cells = centre[:, :, : rows * columns].unflatten(2, (rows, columns))
        label = _nearest(point, cells * weight, *near)
    return label


def start_grid(height: int, width: int, count: int) -> tuple[int, int]:
    """Rows and columns of at most `count` cells that are about square.

    Exactly `count` of them where it is a square number and the image is square. Of the two
    suitable numbers of rows the one that leaves fewer labels over.
    """
    side = math.sqrt(count * height / width)
    candidates = [min(max(n, 1), height, count) for n in (math.floor(side), math.ceil(side))]
    rows = max(candidates, key=lambda n: n * min(count // n, width))
    return rows, min(count // rows, width)


def lightness_and_colour(image: Tensor) -> Tensor:
    """What differences in colour are measured on, float64 of the same shape as the image.

    Args:
        image: `(N, C, H, W)` in [0, 1].

    Returns:
        CIELAB (white D65) of three channels; of any other number, the lightness L* in [0, 100] of
        each channel by itself, which of a grey image is its CIELAB.
    """
    value = image.double()
    linear = torch.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    if image.shape[1] == 3:
        linear = torch.einsum("kc,nchw->nkhw", linear.new_tensor(_XYZ), linear)
    edge = 6 / 29
    root = torch.where(linear > edge**3, linear ** (1 / 3), linear / (3 * edge**2) + 4 / 29)
    if image.shape[1] != 3:
        return 116 * root - 16
    x, y, z = root.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def _neighbours(cell: Tensor, cells: int) -> Tensor:
    """The cells before, at and behind each, `(3, L)`; beyond the border the last one again."""
    return torch.stack([(cell + offset).clamp(0, cells - 1) for offset in (-1, 0, 1)])


def _features(image: Tensor, pull: float) -> tuple[Tensor, Tensor]:
    """Colour, row and column of pixels as whole numbers `(N, C + 2, H, W)`, and their weights."""
    (n, channels), sides = image.shape[:2], image.shape[2:]
    colour = (lightness_and_colour(image) * _UNIT).round().long()
    axes = [torch.arange(side, device=image.device) for side in sides]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    weight = torch.full((channels + 2, 1, 1), 1 / _UNIT, device=image.device)
    weight[channels:] = pull
    return torch.cat([colour, place.expand(n, -1, -1, -1)], 1), weight


def _means(whole: Tensor, label: Tensor, before: Tensor) -> Tensor:
    """Mean of each segment's pixels `(N, D, S)`; one without pixels stays where it was."""
    total = torch.zeros_like(before, dtype=torch.int64)
    total.scatter_add_(2, label[:, None].expand_as(whole), whole)
    area = torch.zeros_like(total[:, :1]).scatter_add_(
        2, label[:, None], torch.ones_like(label[:, None])
    )
    return torch.where(area > 0, (total.double() / area.clamp(min=1)).float(), before)


def _nearest(point: Tensor, centre: Tensor, near_row: Tensor, near_column: Tensor) -> Tensor:
    """Label of the nearest of nine centres, the first of equal ones.

    Args:
        point: `(N, D, H, W)`.
        centre: `(N, D, rows, columns)`.
        near_row: `(3, H)` rows of cells that a row of pixels compares with.
        near_column: `(3, W)` columns likewise.

    Returns:
        `(N, H, W)` int64.
    """
    least = torch.full_like(point[:, 0], torch.inf)
    label = torch.zeros_like(least, dtype=torch.int64)
    for down, across in product(near_row, near_column):
        candidate = centre.index_select(3, across).index_select(2, down)
        distance = torch.zeros_like(least)
        for difference in (candidate - point).unbind(1):  # in this order for any batch
            distance += difference.square()
        label = torch.where(distance < least, down[:, None] * centre.shape[3] + across, label)
        least = torch.minimum(least, distance)
    return label


def _check(count: int, compactness: float, iterations: int, pixels: int) -> None:
    if not 1 <= count <= pixels:
        raise UserError(
            f"Expected `count` between 1 and the images' {pixels} pixels, but got {count}: choose "
            "fewer superpixels."
        )
    if not compactness > 0 or iterations < 1:
        raise UserError(
            f"Expected `compactness` > 0 and `iterations` >= 1, but got {compactness} and "
            f"{iterations}: the paper uses 1 to 40, and 10."
        )
