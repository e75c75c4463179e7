"""Elastic deformation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.corruption.constants import Constants, Levels
from callbacks.corruption.corruption import constant, graded
from callbacks.corruption.filters import gaussian_blurred
from callbacks.randomness import Draw

_LEAST = 8
"""Pixels between the anchors of tiny images, which must not fall on one line."""


def _scaled(size: float, *factors: tuple[float, float, float]) -> Levels:
    """Constants of five severities in pixels."""
    first, second, third, fourth, fifth = (
        (size * alpha, size * sigma, size * jitter) for alpha, sigma, jitter in factors
    )
    return first, second, third, fourth, fifth


_LARGE = (
    (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)
)  # fmt: skip


@dataclass(frozen=True)
class ElasticTransform:
    """A random affine map, then random stretching of small regions."""

    name: ClassVar[str] = "elastic_transform"
    title: ClassVar[str] = "Elastic transform"
    constants: ClassVar[Constants] = Constants(
        _scaled(244, *_LARGE),  # 244, not 224, is what the published sets used
        _scaled(
            32, (0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        _scaled(
            64, (0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03),
            (0.16, 0.03, 0.02),
        ),
        _scaled(360, *_LARGE),
    )  # fmt: skip

    @graded
    def __call__(
        self, image: Tensor, draw: Draw, alpha: float, sigma: float, jitter: float
    ) -> Tensor:
        """Moves three anchors by up to `jitter`, then pixels by smooth noise; see `Corruption`."""
        size = (image.shape[-2], image.shape[-1])
        moved = jitter * (2 * draw.uniform("elastic anchors", 0, (3, 2)) - 1)
        image = _sampled(image, affine_sources(moved, *size), mirrored=True)
        noise = 2 * draw.uniform("elastic displacement", 0, (2, *size)) - 1
        shift = alpha * gaussian_blurred(noise, sigma, "symmetric", truncate=3)
        return _sampled(image, _grid(*size, image) + shift, mirrored=False)


def affine_sources(moved: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel comes from when an affine map moves three anchors.

    Args:
        moved: `(N, 3, 2)` by how many pixels, as (column, row).
        height: of the image.
        width: of the image.

    Returns:
        `(N, 2, H, W)` columns and rows.
    """
    apart = max(min(height, width) // 3, _LEAST)
    column, row = width // 2, height // 2
    corners = ((1, 1), (1, -1), (-1, -1))
    anchor = constant(tuple((column + apart * x, row + apart * y) for x, y in corners), moved)
    ones = moved.new_ones(len(moved), 3, 1)
    backwards = torch.linalg.solve(torch.cat([anchor + moved, ones], 2), anchor.expand_as(moved))
    pixel = torch.cat([_grid(height, width, moved), moved.new_ones(1, 1, height, width)], 1)
    return torch.einsum("nij,khwi->njhw", backwards, pixel.movedim(1, 3))


def _grid(height: int, width: int, like: Tensor) -> Tensor:
    """`(1, 2, H, W)`: every pixel's own column and row."""
    rows, columns = (torch.arange(size, device=like.device).to(like) for size in (height, width))
    return torch.stack([columns.expand(height, -1), rows[:, None].expand(-1, width)])[None]


def _sampled(image: Tensor, source: Tensor, mirrored: bool) -> Tensor:
    """Interpolates bilinearly at `(N, 2, H, W)` columns and rows.

    Args:
        image: `(N, C, H, W)`.
        source: positions, also outside.
        mirrored: the border's pixel is not repeated beyond it; else it is.
    """
    size = constant((image.shape[-1], image.shape[-2]), source)[:, None, None]
    place = 2 * source / (size - 1).clamp_min(1) - 1 if mirrored else (2 * source + 1) / size - 1
    return F.grid_sample(
        image, place.movedim(1, 3), padding_mode="reflection", align_corners=mirrored
    )
