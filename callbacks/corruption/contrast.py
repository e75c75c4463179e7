"""Less contrast."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.corruption.constants import Constants, levels
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Contrast:
    """Less contrast: every channel is drawn towards its mean."""

    name: ClassVar[str] = "contrast"
    title: ClassVar[str] = "Contrast"
    constants: ClassVar[Constants] = Constants(
        levels(0.4, 0.3, 0.2, 0.1, 0.05), levels(0.75, 0.5, 0.4, 0.3, 0.15)
    )

    @graded
    def __call__(self, image: Tensor, draw: Draw, factor: float) -> Tensor:
        """Scales the distance from the mean over the image; see `Corruption`."""
        mean = image.mean((2, 3), keepdim=True)
        return (image - mean) * factor + mean
