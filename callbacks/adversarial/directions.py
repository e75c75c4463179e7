"""Random directions round images, asked about so many at once that they fill the model's calls."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.randomness import Draw

Directions = Callable[[Draw, int | Tensor, tuple[int, ...]], Tensor]
"""`(draw of N samples, number of the direction, (C, H, W)) -> (N, C, H, W)`."""


def rademacher(draw: Draw, number: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """+1 or -1 for every pixel (Spall 1992)."""
    return draw.uniform("direction", number, shape).ge_(0.5).mul_(2).sub_(1)


def normal(draw: Draw, number: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers."""
    return draw.normal("direction", number, shape)


def centred(draw: Draw, number: int | Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform in [-1, 1) for every pixel."""
    return draw.uniform("direction", number, shape).mul_(2).sub_(1)


class Group(NamedTuple):
    """Some directions of every image.

    Args:
        direction: `(n, g, C, H, W)`.
        size: g.
    """

    direction: Tensor
    size: int


def groups(
    directions: Directions, draw: Draw, shape: tuple[int, ...], first: int, count: int, most: int
) -> Iterator[Group]:
    """Draws `count` directions for each sample, a few at a time.

    A direction depends on its number alone, so that the size of a group changes nothing but speed:
    what is summed up over directions has to be summed one by one, in their order.

    Args:
        directions: what they are.
        draw: of the `n` samples.
        shape: `(C, H, W)`.
        first: number of the first one.
        count: how many.
        most: images that are to be made of a group; few samples get many directions at once.
    """
    n = len(draw)
    at_once = max(1, min(count, most // max(n, 1)))
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        repeated = draw.select(torch.arange(n, device=draw.index.device).repeat_interleave(size))
        numbers = first + start + torch.arange(size, device=draw.index.device).repeat(n)
        drawn = directions(repeated, numbers, shape)
        yield Group(drawn.reshape(n, size, *shape), size)
