"""Snow."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import eight_bit, graded, luminance
from callbacks.corruption.motion_blur import motion_blurred
from callbacks.corruption.zoom_blur import centre_zoom
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Snow:
    """Falling flakes, and a paler scene behind them."""

    name: ClassVar[str] = "snow"
    title: ClassVar[str] = "Snow"
    constants: ClassVar[Constants] = Constants(
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
    )

    @graded
    def __call__(
        self,
        image: Tensor,
        draw: Draw,
        mean: float,
        deviation: float,
        zoom: float,
        threshold: float,
        radius: float,
        sigma: float,
        mix: float,
    ) -> Tensor:
        """Mixes in a pale image and adds flakes from both sides; see `Corruption`."""
        field = mean + deviation * draw.normal(self.name, 0, (1, *image.shape[-2:]))
        field = centre_zoom(field, zoom)
        flakes = eight_bit(torch.where(field < threshold, 0.0, field))
        angle = -45 - 90 * draw.uniform("snow angle", 0, ())
        flakes = motion_blurred(flakes, angle, radius, sigma)
        flakes = (255 * flakes).round() / 255
        pale = torch.maximum(image, 1.5 * luminance(image) + 0.5)
        return mix * image + (1 - mix) * pale + flakes + flakes.rot90(2, (2, 3))
