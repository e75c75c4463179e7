"""Exact projections inside the box [0, 1]: onto an L1 ball, and onto a hyperplane."""

import torch
from torch import Tensor

_ROUNDS = 100  # at most, of searches that end after some ten
_CLOSE = 1e-6  # of epsilon: what a float32 sum can tell


def onto_l1_ball(image: Tensor, origin: Tensor, epsilon: float | Tensor) -> Tensor:
    """Returns the point of the L1 ball *and* the box that is nearest (Euclidean) to each image.

    The change of a pixel is that of the image less a common number, kept between 0 and the edge of
    the box (Croce & Hein 2021, 2103.01208). To shorten first and clip then is not the same: it ends
    inside the ball.

    Args:
        image: `(N, C, H, W)`, anywhere.
        origin: `(N, C, H, W)` centres in [0, 1].
        epsilon: radius, >= 0; or `(N, 1)`, one for each image.

    >>> image, origin = torch.tensor([[[[1.0, 0.3]]]]), torch.tensor([[[[0.8, 0.0]]]])
    >>> onto_l1_ball(image, origin, 0.3)  # both move by 0.1 less
    tensor([[[[0.9000, 0.2000]]]])
    """
    change = (image - origin).flatten(1)
    room = _room(origin.flatten(1), change.sign())
    length = change.abs()
    less = _common_shrinkage(length, room, epsilon)
    moved = (length - less).clamp_min(0).minimum(room) * change.sign()
    return (origin + moved.reshape(origin.shape)).clamp_(0, 1)


def _common_shrinkage(length: Tensor, room: Tensor, epsilon: float | Tensor) -> Tensor:
    """The `(N, 1)` least m >= 0 with sum min(max(length - m, 0), room) <= epsilon.

    The sum falls in straight pieces: Newton's step is exact within one, halving finds it.
    """
    low = torch.zeros_like(length[:, :1])
    high, less = length.amax(1, keepdim=True), low
    for _ in range(_ROUNDS):
        left = length - less
        excess = left.clamp_min(0).minimum(room).sum(1, keepdim=True) - epsilon
        over, before = excess > 0, less
        low, high = torch.where(over, less, low), torch.where(over, high, less)
        # At a corner of the sum the slope counts that lies ahead.
        free = torch.where(over, (left > 0) & (left <= room), (left >= 0) & (left < room))
        newton = less + excess / free.sum(1, keepdim=True)
        inside = (newton > low) & (newton < high)  # False where none is free
        less = torch.where(inside, newton, (low + high) / 2)
        less = torch.where((excess.abs() <= _CLOSE * epsilon) | ~over & (before == 0), before, less)
        if torch.equal(less, before):
            break
    return less


def onto_hyperplane(point: Tensor, normal: Tensor, value: Tensor, norm: str) -> Tensor:
    """Returns the shortest change inside the box that brings a linear function to 0.

    Where the box ends before, every pixel goes to its edge (Croce & Hein 2020, 1907.02044).

    Args:
        point: `(N, D)` in [0, 1].
        normal: `(N, D)` gradient of the function.
        value: `(N,)` of the function at the point.
        norm: what is shortest: "linf", "l2" or "l1".

    >>> onto_hyperplane(torch.tensor([[0.5, 0.5]]), torch.tensor([[2.0, 1.0]]),
    ...                 torch.tensor([-0.6]), "linf")
    tensor([[0.2000, 0.2000]])
    """
    scale = normal.abs().amax(1, keepdim=True).clamp_min(torch.finfo(normal.dtype).tiny)
    normal, value = normal / scale, value[:, None] / scale  # tiny gradients are directions too
    direction = -normal.sign() * value.sign()
    room = _room(point, direction) * direction.abs()
    if norm == "l1":
        return direction * _heaviest_first(normal.abs(), room, value.abs())
    ease = torch.ones_like(normal) if norm == "linf" else normal.abs()
    return direction * _together(ease, normal.abs(), room, value.abs())


def _together(ease: Tensor, weight: Tensor, room: Tensor, gap: Tensor) -> Tensor:
    """Moves all pixels by `t · ease` up to `room`, with t such that sum weight · move = gap.

    That sum is concave in t, so t grows from round to round until no further pixel is at its edge:
    Newton's method, exact after finitely many rounds, without the sorting of a direct solution.
    """
    full, pull = weight * room, weight * ease
    shut, none, reach = room <= 0, torch.zeros_like(room), torch.zeros_like(gap)
    for _ in range(_ROUNDS):
        left = gap - torch.where(shut, full, none).sum(1, keepdim=True)
        reach = left / torch.where(shut, none, pull).sum(1, keepdim=True)  # inf where all are
        now_shut = (ease * reach >= room).logical_or_(shut)
        if torch.equal(now_shut, shut):
            break
        shut = now_shut
    return torch.where(shut, room, ease * reach)


def _heaviest_first(weight: Tensor, room: Tensor, gap: Tensor) -> Tensor:
    """Moves pixels to their edges by falling weight, until sum weight · move = gap."""
    weight, order = weight.sort(1, descending=True)
    sorted_room = room.gather(1, order)
    covered = (weight * sorted_room).double().cumsum(1)
    before = torch.cat([torch.zeros_like(covered[:, :1]), covered[:, :-1]], 1)
    left = (gap - before).clamp_min(0).to(room.dtype)
    move = (left / weight.clamp_min(torch.finfo(room.dtype).tiny)).minimum(sorted_room)
    return torch.zeros_like(room).scatter_(1, order, move)


def _room(point: Tensor, direction: Tensor) -> Tensor:
    """How far each pixel can go before it leaves the box."""
    return torch.where(direction > 0, 1 - point, point)
