"""Few colours."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from callbacks.corruption.constants import Constants, levels, of_any_size
from callbacks.corruption.corruption import graded
from callbacks.randomness import Draw


@dataclass(frozen=True)
class ColourQuantisation:
    """Few colours: only the first bits of every value are kept.

    Constants, in bits: those of ImageNet-3DCC (Kar et al. 2022, 2203.01441) and MNIST-C.
    """

    name: ClassVar[str] = "colour_quantisation"
    title: ClassVar[str] = "Colour quantisation"
    constants: ClassVar[Constants] = of_any_size(levels(5, 4, 3, 2, 1))

    @graded
    def __call__(self, image: Tensor, draw: Draw, bits: float) -> Tensor:
        """Rounds down to 2^bits values, as posterising does; see `Corruption`."""
        step = 2 ** (8 - bits)
        return ((255 * image).round() / step).floor() * step / 255
