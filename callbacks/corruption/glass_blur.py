"""Frosted glass: pixels change places with near ones."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import eight_bit, graded
from callbacks.corruption.filters import gaussian_blurred
from callbacks.randomness import Draw

# Links of a chain of copies double with each round. A chain goes on with probability < 1/2, so one
# of more than 2^6 links is rarer than 2^-64.
_DOUBLINGS = 6


@dataclass(frozen=True)
class GlassBlur:
    """Pixels take the value of a near one, as behind frosted glass."""

    name: ClassVar[str] = "glass_blur"
    title: ClassVar[str] = "Glass blur"
    constants: ClassVar[Constants] = Constants(
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.8, 1, 3), (1, 3, 1), (1.1, 2, 4), (1.2, 4, 2), (1.6, 5, 2)),
    )

    @graded
    def __call__(
        self, image: Tensor, draw: Draw, sigma: float, shift: float, passes: float
    ) -> Tensor:
        """Blurs, copies neighbours `passes` times, and blurs again; see `Corruption`."""
        glass = eight_bit(gaussian_blurred(image, sigma))
        height, width = image.shape[-2:]
        for step in range(round(passes)):
            chance = draw.uniform(self.name, step, (2, height, width))
            glass = _gathered(glass, sources(chance, round(shift)))
        return gaussian_blurred(glass, sigma)


def sources(chance: Tensor, shift: int) -> Tensor:
    """Where each pixel's value comes from when pixels copy a neighbour one after the other.

    Rows and columns run down from size - shift to shift + 1, and each pixel takes what its
    neighbour at an offset from [-shift, shift - 1] holds at that time. A neighbour that had its
    turn holds what it copied, so the sources form chains, which are followed by pointer doubling.

    Args:
        chance: `(N, 2, H, W)` uniform numbers in [0, 1), for columns and rows.
        shift: the largest offset, >= 1.

    Returns:
        `(N, H, W)` flat positions.
    """
    height, width = chance.shape[-2:]
    column, row = ((chance * 2 * shift).long() - shift).unbind(1)
    here = torch.arange(height * width, device=chance.device).view(height, width)
    moves = torch.zeros_like(here, dtype=torch.bool)
    moves[shift + 1 : height - shift + 1, shift + 1 : width - shift + 1] = True
    taken = torch.where(moves, here + row * width + column, here).flatten(1)
    # A neighbour later in reading order had its turn before.
    copied = (taken > here.flatten()) & moves.flatten()[taken]
    chain = torch.where(copied, taken, here.flatten())
    for _ in range(_DOUBLINGS):
        chain = chain.gather(1, chain)
    return taken.gather(1, chain).unflatten(1, (height, width))


def _gathered(image: Tensor, source: Tensor) -> Tensor:
    flat = image.flatten(2)
    return flat.gather(2, source.flatten(1)[:, None].expand_as(flat)).view_as(image)
