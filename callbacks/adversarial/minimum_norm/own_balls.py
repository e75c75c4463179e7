"""Projections onto balls whose radius is each image's own, inside the box [0, 1]."""

import torch
from torch import Tensor

from callbacks.adversarial.projections import onto_l1_ball
from callbacks.adversarial.threat_models import beside


def onto_own_ball(image: Tensor, origin: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Returns `(N, C, H, W)` admissible images: in the ball, then in the box; for L1 in both.

    Args:
        image: `(N, C, H, W)`, anywhere.
        origin: `(N, C, H, W)` centres in [0, 1].
        radius: `(N,)` >= 0; for L0 whole numbers >= 1 of coordinates.
        norm: "linf", "l2", "l1" or "l0".

    >>> image, origin = torch.tensor([[[[0.9, 0.4]]]]), torch.tensor([[[[0.5, 0.5]]]])
    >>> onto_own_ball(image, origin, torch.tensor([1.0]), "l0")
    tensor([[[[0.9000, 0.5000]]]])
    """
    change = image - origin
    if norm == "linf":
        limit = beside(radius)
        return (origin + change.minimum(limit).maximum(-limit)).clamp_(0, 1)
    if norm == "l2":
        length = change.flatten(1).norm(dim=1).clamp_min(torch.finfo(change.dtype).tiny)
        return (origin + beside((radius / length).clamp_max(1)) * change).clamp_(0, 1)
    if norm == "l1":
        return onto_l1_ball(image, origin, radius[:, None])
    return torch.where(_largest(change, radius), image, origin).clamp_(0, 1)


def _largest(change: Tensor, count: Tensor) -> Tensor:
    """Which of the coordinates of each `(C, H, W)` are the `count` largest changes."""
    order = change.abs().flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(order.shape[1], device=order.device).expand_as(order)
    place = torch.empty_like(order).scatter_(1, order, rank)
    return (place < count[:, None]).reshape(change.shape)
