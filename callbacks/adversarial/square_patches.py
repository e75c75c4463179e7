"""The proposals of the square attack, for each norm: where it starts and how a patch changes it."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.randomness import Draw

_TINY = 1e-12


@dataclass(frozen=True)
class Patches:
    """Stripes and squares of full height, for Linf."""

    def numbers(self, channels: int) -> int:
        """How many random numbers a proposal takes: a place and a sign for each channel."""
        return 2 + channels

    def start(self, image: Tensor, threat: ThreatModel, draw: Draw) -> Tensor:
        """Vertical stripes, each channel of each column up or down by epsilon."""
        channels, _, width = image.shape[1:]
        stripes = _sign(draw.uniform("square stripes", 0, (channels, 1, width)))
        return threat.project(image + threat.epsilon * stripes, image)

    def proposed(
        self, point: Tensor, origin: Tensor, threat: ThreatModel, side: int, random: Tensor
    ) -> Tensor:
        """One square of each image, each channel to the upper or the lower end.

        Args:
            point: `(n, C, H, W)` the best so far.
            origin: `(n, C, H, W)`.
            threat: the ball.
            side: of the square, at most H and W.
            random: `(n, 2 + C)` in [0, 1).
        """
        height, width = point.shape[2:]
        rows = _covered(random[:, 0], side, height)[:, None, :, None]
        columns = _covered(random[:, 1], side, width)[:, None, None, :]
        jump = 2 * threat.epsilon * _sign(random[:, 2:])[:, :, None, None]
        return threat.project(torch.where(rows & columns, point + jump, point), origin)


@dataclass(frozen=True)
class Bumps:
    """Bumps in place of squares, for L2 and L1: the mass of one window moves into another.

    Args:
        order: of the norm.
        power: by how much a bump falls from ring to ring.
    """

    order: int
    power: int

    def numbers(self, channels: int) -> int:
        """Two places, which way the bump lies, and a sign for each channel."""
        return 5 + channels

    def start(self, image: Tensor, threat: ThreatModel, draw: Draw) -> Tensor:
        """A tiling of bumps with random signs."""
        channels, height, width = image.shape[1:]
        side = max(min(height, width) // 5, 1)
        down, across = height // side, width // side
        random = draw.uniform("square tiles", 0, (channels + 1, down, across))
        bump = self.bump(side).to(image)
        lying = (random[:, :1] < 0.5)[..., None, None]
        tiles = torch.where(lying, bump, bump.T) * _sign(random[:, 1:])[..., None, None]
        change = torch.zeros_like(image)
        tiled = tiles.permute(0, 1, 2, 4, 3, 5).reshape(len(image), channels, down * side, -1)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        change[:, :, top : top + down * side, left : left + across * side] = tiled
        return self._inside(change, image, threat)

    def proposed(
        self, point: Tensor, origin: Tensor, threat: ThreatModel, side: int, random: Tensor
    ) -> Tensor:
        """Empties one window of each image and adds its mass to a bump in another.

        Args:
            point: `(n, C, H, W)` the best so far.
            origin: `(n, C, H, W)`.
            threat: the ball.
            side: of the windows; the next odd number from 3 on is taken, if the image has it.
            random: `(n, 5 + C)` in [0, 1).
        """
        n, channels, height, width = point.shape
        side = min(max(side, 3) | 1, height, width)
        change = (point - origin).flatten(2)
        first = _window(random[:, 0], random[:, 1], side, height, width).expand(-1, channels, -1)
        second = _window(random[:, 2], random[:, 3], side, height, width).expand(-1, channels, -1)
        there = change.gather(2, first)
        lying = (random[:, 4] < 0.5)[:, None, None]
        bump = self.bump(side).to(point)
        fresh = torch.where(lying, bump, bump.T).reshape(n, 1, -1) * _sign(random[:, 5:, None])
        fresh = fresh + there / (self._length(there, 2) + _TINY)
        length = self._mass(change, first, second, threat.epsilon)[:, None, None]
        fresh = fresh / (self._length(fresh, 2) + _TINY) * length ** (1 / self.order)
        change = change.scatter(2, second, 0.0).scatter(2, first, fresh)
        return self._inside(change.reshape(point.shape), origin, threat)

    def bump(self, side: int) -> Tensor:
        """A hill beside a valley, `(side, side)`, of length 1."""
        return _bump(side, self.order, self.power)

    def _mass(self, change: Tensor, first: Tensor, second: Tensor, epsilon: float) -> Tensor:
        """`(n,)` for each channel of a window: what both windows hold and what the ball spares."""
        mass = change.abs() ** self.order
        either = torch.zeros_like(mass).scatter_(2, first, 1.0).scatter_(2, second, 1.0)
        spare = (epsilon**self.order - mass.sum((1, 2))).clamp_min(0)
        return spare / change.shape[1] + (mass * either).sum((1, 2))

    def _length(self, part: Tensor, dim: int) -> Tensor:
        return torch.linalg.vector_norm(part, self.order, dim=dim, keepdim=True)

    def _inside(self, change: Tensor, origin: Tensor, threat: ThreatModel) -> Tensor:
        """Stretches changes to the radius and projects them."""
        length = self._length(change.flatten(1), 1)[:, 0]
        stretched = change * beside(threat.epsilon / (length + _TINY))
        return threat.project(origin + stretched, origin)


PATCHES: dict[str, Patches | Bumps] = {
    "linf": Patches(),
    "l2": Bumps(order=2, power=2),
    "l1": Bumps(order=1, power=4),
}


def _sign(uniform: Tensor) -> Tensor:
    """-1 or 1, of numbers in [0, 1)."""
    return torch.where(uniform < 0.5, -1.0, 1.0)


def _covered(uniform: Tensor, side: int, size: int) -> Tensor:
    """`(n, size)` bool: which positions lie in a random run of `side`; every run is as likely."""
    start = _start(uniform, side, size)
    position = torch.arange(size, device=uniform.device)
    return (position >= start) & (position < start + side)


def _window(down: Tensor, across: Tensor, side: int, height: int, width: int) -> Tensor:
    """`(n, 1, side²)` flat positions of a random window."""
    run = torch.arange(side, device=down.device)
    rows = _start(down, side, height) + run
    columns = _start(across, side, width) + run
    return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None]


def _start(uniform: Tensor, side: int, size: int) -> Tensor:
    """`(n, 1)` first position; the last possible one included."""
    return (uniform * (size - side + 1)).long()[:, None]


@lru_cache(maxsize=64)
def _bump(side: int, order: int, power: int) -> Tensor:
    upper = _rings(side // 2, side, power)
    bump = torch.cat([_unit(upper, order), -_unit(_rings(side - side // 2, side, power), order)])
    return _unit(bump, order)


def _rings(height: int, width: int, power: int) -> Tensor:
    """A sum of centred rectangles, the k-th of which weighs 1/k^power."""
    rings = torch.zeros(height, width)
    down, across = height // 2, width // 2
    for ring in range(max(down, across) + 1):
        top, left = max(down - ring, 0), max(across - ring, 0)
        rings[top : down + ring + 1, left : across + ring + 1] += 1 / (ring + 1) ** power
    return rings


def _unit(part: Tensor, order: int) -> Tensor:
    return part / torch.linalg.vector_norm(part, order).clamp_min(_TINY)
