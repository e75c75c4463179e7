"""Dirt on the lens."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw
from callbacks.warp import centred

_SMALL, _LARGE = 0.04, 0.14
"""Radii of spots in parts of the short side."""
_SOFT = 0.3
"""Width of a spot's rim in radii: dirt on the lens is out of focus."""
_SCATTERED = 0.25
"""Share of the image's mean light that dirt throws back."""


@dataclass(frozen=True)
class LensDirt:
    """Spots of dirt on the lens, out of focus.

    They hold back light of the scene and scatter some from all of it: x a + b (Gu et al. 2009).
    Constants, how many spots and how dense they are: our own.
    """

    name: ClassVar[str] = "lens_dirt"
    title: ClassVar[str] = "Lens dirt"
    constants: ClassVar[Constants] = of_any_size(
        ((4, 0.5), (7, 0.6), (11, 0.7), (15, 0.8), (20, 0.9))
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, count: float, density: float) -> Tensor:
        """Darkens spots towards a quarter of the mean light; see `Corruption`."""
        scattered = _SCATTERED * image.mean((1, 2, 3), keepdim=True)
        return torch.lerp(image, scattered, self.cover(image, draw, count, density))

    def cover(self, image: Tensor, draw: Draw, count: float, density: float) -> Tensor:
        """How much of the light is held back, `(N, 1, H, W)` in [0, 1].

        A count between whole numbers leaves the last spot thinner; the first spots are the same for
        every count.
        """
        across, down = (axis.to(image) for axis in centred(image))
        height, width = image.shape[-2:]
        left = image.new_ones(len(image), 1, height, width)
        for spot in range(-int(-count // 1)):
            right, low, size = draw.uniform(self.name, spot, (3, 1, 1, 1)).unbind(1)
            radius = (_SMALL + (_LARGE - _SMALL) * size) * min(height, width)
            far = torch.hypot(across - width * (right - 0.5), down - height * (low - 0.5))
            inside = ((radius - far) / (_SOFT * radius) + 0.5).clamp(0, 1)
            left = left * (1 - density * min(1.0, count - spot) * inside)
        return 1 - left
