"""The camera stands elsewhere: turned, farther off, aside, oblique."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.camera.light import either_way
from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import constant, graded
from callbacks.randomness import Draw
from callbacks.warp import Beyond, warped

_CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
_INWARDS = ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))


@dataclass(frozen=True)
class Rotation:
    """The camera is turned about its axis, either way.

    Constants, in radians: MNIST-C's (Mu & Gilmer 2019, 1906.02337); the way is drawn.

    Args:
        beyond: what lies outside of the image.
    """

    name: ClassVar[str] = "rotation"
    title: ClassVar[str] = "Rotation"
    constants: ClassVar[Constants] = of_any_size(levels(0.2, 0.4, 0.6, 0.8, 1.0))
    beyond: Beyond = "symmetric"

    @graded
    def __call__(self, image: Tensor, draw: Draw, angle: float) -> Tensor:
        """Turns about the centre; see `Corruption`."""
        way = either_way(draw, self.name).flatten()
        sine, cosine = way * math.sin(angle), torch.full_like(way, math.cos(angle))
        return warped(image, _matrix((cosine, -sine, 0), (sine, cosine, 0)), self.beyond)


@dataclass(frozen=True)
class Scale:
    """The camera stands farther off: all is smaller.

    Constants, factors of the size: MNIST-C's (Mu & Gilmer 2019, 1906.02337).

    Args:
        beyond: what lies outside of the image.
    """

    name: ClassVar[str] = "scale"
    title: ClassVar[str] = "Scale"
    constants: ClassVar[Constants] = of_any_size(levels(0.9, 0.8, 0.7, 0.6, 0.5))
    beyond: Beyond = "symmetric"

    @graded
    def __call__(self, image: Tensor, draw: Draw, factor: float) -> Tensor:
        """Shrinks about the centre; see `Corruption`."""
        size = torch.full((1,), 1 / factor, device=image.device)
        return warped(image, _matrix((size, 0, 0), (0, size, 0)), self.beyond)


@dataclass(frozen=True)
class Translation:
    """The camera is moved aside, in any direction.

    Constants, parts of the short side: MNIST-C's 1 to 5 of 28 px (Mu & Gilmer 2019, 1906.02337);
    the direction is drawn.

    Args:
        beyond: what lies outside of the image.
    """

    name: ClassVar[str] = "translation"
    title: ClassVar[str] = "Translation"
    constants: ClassVar[Constants] = of_any_size(levels(1 / 28, 2 / 28, 3 / 28, 4 / 28, 5 / 28))
    beyond: Beyond = "symmetric"

    @graded
    def __call__(self, image: Tensor, draw: Draw, part: float) -> Tensor:
        """Moves everything by `part` of the short side; see `Corruption`."""
        far = part * min(image.shape[-2:])
        angle = 2 * math.pi * draw.uniform(self.name, 0, ())
        rows = (1, 0, far * angle.cos()), (0, 1, far * angle.sin())
        return warped(image, _matrix(*rows), self.beyond)


@dataclass(frozen=True)
class Perspective:
    """The camera looks obliquely.

    Every corner of the image shows a point further inside, by up to half of the constant's part of
    the sides each, so that nothing beyond the border is seen. Constants: up to torchvision's usual
    `distortion_scale`, in steps of our own.
    """

    name: ClassVar[str] = "perspective"
    title: ClassVar[str] = "Perspective"
    constants: ClassVar[Constants] = of_any_size(levels(0.1, 0.2, 0.3, 0.4, 0.5))

    @graded
    def __call__(self, image: Tensor, draw: Draw, distortion: float) -> Tensor:
        """Looks at a quadrangle inside the image; see `Corruption`."""
        inwards = distortion / 2 * draw.uniform(self.name, 0, (4, 2))
        corner = constant(_CORNERS, inwards) + inwards * constant(_INWARDS, inwards)
        height, width = image.shape[-2:]
        place = (corner - 0.5) * constant((float(width), float(height)), inwards)
        from_centre = ((1 / width, 0.0, 0.5), (0.0, 1 / height, 0.5), (0.0, 0.0, 1.0))
        return warped(image, quadrangle(place.double()) @ constant(from_centre, place.double()))


def quadrangle(corner: Tensor) -> Tensor:
    """Homographies that map the unit square to quadrangles (Heckbert 1989).

    Args:
        corner: `(N, 4, 2)`, x before y, of (0, 0), (1, 0), (1, 1) and (0, 1).

    Returns:
        `(N, 3, 3)`.
    """
    first, second, third, fourth = corner.unbind(1)
    right, left, bend = second - third, fourth - third, first - second + third - fourth
    area = _cross(right, left)
    g, h = (_cross(bend, left) / area)[:, None], (_cross(right, bend) / area)[:, None]
    columns = (second - first + g * second, fourth - first + h * fourth, first)
    top = torch.stack(columns, -1)
    return torch.cat([top, torch.stack([g, h, torch.ones_like(g)], -1)], 1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _matrix(*rows: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    """`(N, 3, 3)` affine maps of two rows of numbers, some of them one for each sample."""
    given = [[*row] for row in (*rows, (0.0, 0.0, 1.0))]
    (like, *_) = [entry for row in given for entry in row if isinstance(entry, Tensor)]
    parts = [
        entry if isinstance(entry, Tensor) else torch.full_like(like, entry)
        for row in given
        for entry in row
    ]
    return torch.stack(parts, -1).unflatten(-1, (3, 3))
