"""Images rounded to 8 bit so that the change stays in its ball."""

from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.adversarial.minimum_norm.nearest import measure
from callbacks.adversarial.threat_models import beside

_HALVINGS = 12
_ROUNDING = 1e-3
"""Of a grey level: what float32 may add to a change of whole levels."""


class EightBit(NamedTuple):
    """Images and their originals in whole grey levels.

    Args:
        image: `(N, C, H, W)` uint8.
        origin: `(N, C, H, W)` uint8, the nearest to the original.
        drawn: `(N,)` bool; the nearest picture lies outside of the ball, so that this one was drawn
            towards the original.
        rounded: `(N,)` bool; the original itself was not in whole grey levels.
    """

    image: Tensor
    origin: Tensor
    drawn: Tensor
    rounded: Tensor


def eight_bit(image: Tensor, origin: Tensor, norm: str, radius: float) -> EightBit:
    """Rounds images to 8 bit within a ball round their originals, rounded too.

    To the nearest where that lies in the ball. Else, in L∞, every pixel to the outermost grey level
    in it: a radius of k/255 loses nothing. In other norms the change is shortened, as little as
    needed by halving, until the nearest picture lies in the ball. In L0 rounding moves nothing in.

    Args:
        image: `(N, C, H, W)` in [0, 1].
        origin: `(N, C, H, W)` in [0, 1].
        norm: "linf", "l2", "l1" or "l0".
        radius: of the ball, in pixel units; for L0 a number of coordinates.

    >>> image, origin = torch.tensor([[[[0.8, 0.2]]]]), torch.tensor([[[[0.6, 0.4]]]])
    >>> eight_bit(image, origin, "linf", 0.1).image  # 0.6 and 0.4 are the levels 153 and 102
    tensor([[[[178,  77]]]], dtype=torch.uint8)
    """
    wished, start = 255 * image.double(), 255 * origin.double()
    clean = start.round()
    nearest = wished.round()
    if norm == "linf":
        most = int(255 * radius + _ROUNDING)
        found = nearest.clamp(clean - most, clean + most)
    else:
        found = _shortened(wished, clean, norm, radius)
    return EightBit(
        found.byte(),
        clean.byte(),
        (found != nearest).flatten(1).any(1),
        ((start - clean).abs() > _ROUNDING).flatten(1).any(1),
    )


def _shortened(wished: Tensor, clean: Tensor, norm: str, radius: float) -> Tensor:
    """The farthest picture in the ball on the way to the wished one, which itself may be in it."""
    whole = wished.new_ones(len(wished))
    low, high = torch.zeros_like(whole), whole
    found = torch.where(beside(_inside(wished.round(), clean, norm, radius)), wished.round(), clean)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        trial = (clean + beside(middle) * (wished - clean)).round()
        inside = _inside(trial, clean, norm, radius)
        farther = inside & ~_inside(wished.round(), clean, norm, radius)
        found = torch.where(beside(farther), trial, found)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return found


def _inside(levels: Tensor, clean: Tensor, norm: str, radius: float) -> Tensor:
    distance = measure(levels / 255, clean / 255, norm).double()
    return distance <= radius * (1 + 1e-6)
