"""How Auto-PGD steps, and when it shortens its steps: by halving, or by sparsity in an L1 ball."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.threat_models import L1, ThreatModel, beside

MOMENTUM = 0.75  # the share of the new step, alpha
_LEAST_RISES = 0.75  # rho: steps between checkpoints that have to raise the loss


class Ascent(NamedTuple):
    """Where Auto-PGD is with each of `n` images.

    Args:
        active: the images, at the newest point.
        previous: `(n, C, H, W)` the point before.
        loss: `(n,)` at the newest point; `gradient` likewise.
        gradient: `(n, C, H, W)`.
        best: `(n, C, H, W)` the point of highest loss, with `best_loss`, `best_gradient`.
        best_loss: `(n,)`.
        best_gradient: `(n, C, H, W)`.
        size: `(n,)` step length.
        rises: `(n,)` steps since the last checkpoint that raised the loss.
        checked_loss: `(n,)` highest loss at the last checkpoint.
        shortened: `(n,)` bool, whether the step was halved there.
        support: `(n,)` pixels in which the best point differed there, for L1.
    """

    active: Active
    previous: Tensor
    loss: Tensor
    gradient: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    size: Tensor
    rises: Tensor
    checked_loss: Tensor
    shortened: Tensor
    support: Tensor

    @classmethod
    def begin(cls, active: Active, loss: Tensor, gradient: Tensor, ball: ThreatModel) -> "Ascent":
        """At the start: steps of 2 epsilon (of epsilon for L1)."""
        point, longest = active.point, (1 if isinstance(ball, L1) else 2) * ball.epsilon
        return cls(
            active, point, loss, gradient, point, loss, gradient,
            size=torch.full_like(loss, longest),
            rises=torch.zeros_like(loss),
            checked_loss=loss,
            shortened=torch.ones_like(loss, dtype=torch.bool),  # spares the first checkpoint
            support=_support(point, active.origin),
        )  # fmt: skip

    def select(self, wanted: Tensor) -> "Ascent":
        """Returns some of them, by mask."""
        active, *parts = self
        return Ascent(active.select(wanted), *(part[wanted] for part in parts))

    def noted(self, loss: Tensor, gradient: Tensor) -> "Ascent":
        """After a step: the new loss `(n,)` and gradient, and whether they are the best."""
        higher = loss > self.best_loss
        return self._replace(
            rises=self.rises + (loss > self.loss),
            loss=loss,
            gradient=gradient,
            best=_where(higher, self.active.point, self.best),
            best_loss=torch.where(higher, loss, self.best_loss),
            best_gradient=_where(higher, gradient, self.best_gradient),
        )

    def at(self, point: Tensor) -> "Ascent":
        """One step further on."""
        return self._replace(active=self.active._replace(point=point), previous=self.active.point)

    def back_to_best(self, which: Tensor) -> "Ascent":
        """Moves the masked images to their best points, with the gradients known there."""
        point = _where(which, self.best, self.active.point)
        gradient = _where(which, self.best_gradient, self.gradient)
        return self._replace(active=self.active._replace(point=point), gradient=gradient)


@dataclass(frozen=True)
class Halving:
    """Halves the step where the loss rises too seldom (Croce & Hein 2020, 2003.01690, algorithm 1).

    Args:
        checkpoints: the steps to look at it, each with the number of steps since the one before.
    """

    checkpoints: dict[int, int]

    @classmethod
    def of(cls, steps: int) -> "Halving":
        """Checkpoints in whole steps, as the authors' code has them.

        >>> list(Halving.of(100).checkpoints)
        [22, 41, 57, 70, 80, 87, 93, 99]
        """
        period, step = max(int(0.22 * steps), 1), 0
        checkpoints: dict[int, int] = {}
        while step + period <= steps:
            step += period
            checkpoints[step] = period
            period = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
        return cls(checkpoints)

    def moved(self, ascent: Ascent, ball: ThreatModel, first: bool) -> Ascent:
        """A projected step and, but for the first, a quarter of the step before."""
        point, origin = ascent.active.point, ascent.active.origin
        step = ball.project(point + beside(ascent.size) * ball.ascent(ascent.gradient), origin)
        if first:
            return ascent.at(step)
        drift = MOMENTUM * (step - point) + (1 - MOMENTUM) * (point - ascent.previous)
        return ascent.at(ball.project(point + drift, origin))

    def checked(self, ascent: Ascent, step: int) -> Ascent:
        """Halves and goes back to the best point where the loss rose seldom, or not at all.

        The first rise is that of the first step over the start; the authors' code compares it with
        0 instead.
        """
        if step not in self.checkpoints:
            return ascent
        seldom = ascent.rises <= _LEAST_RISES * self.checkpoints[step]
        stuck = ~ascent.shortened & (ascent.checked_loss >= ascent.best_loss)
        shorter = seldom | stuck
        return ascent._replace(
            size=torch.where(shorter, ascent.size / 2, ascent.size),
            rises=torch.zeros_like(ascent.rises),
            checked_loss=ascent.best_loss,
            shortened=shorter,
        ).back_to_best(shorter)


@dataclass(frozen=True)
class Sparse:
    """Steps along few pixels, as many as the best point needs (Croce & Hein 2021, 2103.01208).

    Args:
        epsilon: radius of the L1 ball.
        every: steps between checkpoints.
    """

    epsilon: float
    every: int

    def moved(self, ascent: Ascent, ball: ThreatModel, first: bool) -> Ascent:
        """A projected step along the signs of the largest gradients."""
        step = beside(ascent.size) * sparse_signs(ascent.gradient, ascent.support / 1.5)
        return ascent.at(ball.project(ascent.active.point + step, ascent.active.origin))

    def checked(self, ascent: Ascent, step: int) -> Ascent:
        """Shortens the step; where the best point has become sparser, starts anew from it."""
        if step % self.every:
            return ascent
        support = _support(ascent.best, ascent.active.origin)
        sparser = support < 0.95 * ascent.support
        size = (ascent.size / 1.5).clamp_min(self.epsilon / 10)
        size = torch.where(sparser, self.epsilon, size)
        return ascent._replace(size=size, support=support).back_to_best(sparser)


def rule_of(ball: ThreatModel, steps: int) -> Halving | Sparse:
    """The rule for a ball and a number of steps."""
    if isinstance(ball, L1):
        return Sparse(ball.epsilon, max(int(0.04 * steps), 1))
    return Halving.of(steps)


def sparse_signs(gradient: Tensor, count: Tensor) -> Tensor:
    """Signs of the entries of largest size, divided by their number: a step of L1 length 1.

    Args:
        gradient: `(N, C, H, W)`; what is not a number counts as 0.
        count: `(N,)` how many; at least one is taken, and all that are as large as the last.
    """
    flat = gradient.nan_to_num(0.0).flatten(1)
    size = flat.abs()
    n = size.shape[1]
    rank = (n - count).clamp(0, n - 1).long()[:, None]
    signs = flat.sign() * (size >= size.sort(1).values.gather(1, rank))
    taken = signs.abs().sum(1, keepdim=True).clamp_min(1)
    return (signs / taken).reshape(gradient.shape)


def _support(point: Tensor, origin: Tensor) -> Tensor:
    return (point != origin).flatten(1).sum(1).to(point.dtype)


def _where(mask: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(beside(mask), one, other)
