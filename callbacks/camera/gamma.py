"""A wrong tone curve."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.camera.light import either_way
from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Gamma:
    """A wrong tone curve: all but black and white is too dark, or too bright.

    Constants, the exponent or its inverse as is drawn: our own.
    """

    name: ClassVar[str] = "gamma"
    title: ClassVar[str] = "Gamma"
    constants: ClassVar[Constants] = of_any_size(levels(1.2, 1.5, 1.9, 2.4, 3.0))

    @graded
    def __call__(self, image: Tensor, draw: Draw, gamma: float) -> Tensor:
        """Takes the values to the power of gamma or 1 / gamma; see `Corruption`."""
        return image ** (gamma ** either_way(draw, self.name))
