"""Intervals of every value of a network, and linear bounds of what is not linear in it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial.certified.program import Step


class Box(NamedTuple):
    """Lowest and highest value, elementwise, `(N, ...)` float64."""

    low: Tensor
    high: Tensor

    def within(self, other: "Box") -> "Box":
        """What both allow."""
        return Box(torch.maximum(self.low, other.low), torch.minimum(self.high, other.high))


def interval_of(step: Step, boxes: Sequence[Box]) -> Box:
    """Interval arithmetic of one step (Gowal et al. 2018, 1810.12715).

    Args:
        step: of a network.
        boxes: of its inputs.

    Returns:
        An interval that holds its output for every input in the boxes.

    >>> double = Step("affine", (0,), lambda x: -2 * x, lambda r: 2 * r)
    >>> interval_of(double, [Box(torch.tensor([1.0]), torch.tensor([3.0]))])
    Box(low=tensor([-6.]), high=tensor([-2.]))
    """
    if step.kind == "affine":
        centre = step.apply(*[(box.low + box.high) / 2 for box in boxes])
        radius = step.spread(*[(box.high - box.low) / 2 for box in boxes])
        return Box(centre - radius, centre + radius)
    return Box(step.apply(boxes[0].low), step.apply(boxes[0].high))  # both kinds are monotone


class Rectifier(NamedTuple):
    """Lines below and above max(0, x) on an interval; `(N, ...)` each.

    Args:
        lower: slope of the line below, which goes through 0.
        upper: slope of the line above.
        offset: of the line above.
    """

    lower: Tensor
    upper: Tensor
    offset: Tensor


def rectifier(box: Box) -> Rectifier:
    """The lines of CROWN (Zhang et al. 2018, 1811.00866): the chord above, 0 or x below.

    >>> rectifier(Box(torch.tensor([-1.0]), torch.tensor([3.0])))
    Rectifier(lower=tensor([1.]), upper=tensor([0.7500]), offset=tensor([0.7500]))
    """
    low, high = box.low.clamp_max(0), box.high.clamp_min(0)
    crossing = (low < 0) & (high > 0)
    chord = high / (high - low).clamp_min(torch.finfo(low.dtype).tiny)
    upper = torch.where(crossing, chord, (box.low >= 0).to(low.dtype))
    lower = torch.where(crossing, (high > -low).to(low.dtype), upper)
    return Rectifier(lower, upper, torch.where(crossing, -upper * low, torch.zeros_like(low)))


class Maximum(NamedTuple):
    """Bounds of max pooling: below, the input whose least is largest; above, it or the highest.

    Args:
        place: `(N, C, L)`, position of that input in its `(H, W)` plane.
        exact: it is the largest whatever happens, so that it is the bound above too.
        highest: of all inputs.
    """

    place: Tensor
    exact: Tensor
    highest: Tensor


def maximum(step: Step, box: Box) -> Maximum:
    """The bounds of one max pooling on an interval of `(N, C, H, W)`."""
    windows = step.spread(box.low.shape[2:]).to(box.low.device)  # (k, L), -1 outside
    low, high = (_seen(part, windows) for part in box)
    chosen = low.argmax(2, keepdim=True)
    rivals = high.scatter(2, chosen, -torch.inf).amax(2)
    place = windows.expand(*low.shape[:2], -1, -1).gather(2, chosen)[:, :, 0]
    return Maximum(place, rivals <= low.amax(2), high.amax(2))


def _seen(plane: Tensor, windows: Tensor) -> Tensor:
    """What each window sees, `(N, C, k, L)`; minus infinity outside of the plane."""
    values = plane.flatten(2)[:, :, windows.clamp_min(0)]
    return values.masked_fill(windows < 0, -torch.inf)


def through_maximum(
    coefficient: Tensor, bounds: Maximum, plane: torch.Size
) -> tuple[Tensor, Tensor]:
    """Carries a lower bound through max pooling.

    Args:
        coefficient: `(N, S, C, h, w)` of its outputs.
        bounds: of the pooling.
        plane: `(H, W)` of its inputs.

    Returns:
        Coefficients `(N, S, C, H, W)` of its inputs, and what is added, `(N, S)`.
    """
    coefficient = coefficient.flatten(3)
    below, above = coefficient.clamp_min(0), coefficient.clamp_max(0)
    exact = bounds.exact[:, None]
    routed = below + above * exact
    place = bounds.place[:, None].expand_as(coefficient)
    onto = coefficient.new_zeros(*coefficient.shape[:3], plane.numel())
    onto.scatter_add_(3, place, routed)
    added = (above * ~exact * bounds.highest[:, None]).flatten(2).sum(2)
    return onto.reshape(*coefficient.shape[:3], *plane), added


def through_rectifier(coefficient: Tensor, lines: Rectifier) -> tuple[Tensor, Tensor]:
    """Carries a lower bound through a rectifier; shapes as in `through_maximum`."""
    below, above = coefficient.clamp_min(0), F.relu(-coefficient)
    onto = below * lines.lower[:, None] - above * lines.upper[:, None]
    return onto, -(above * lines.offset[:, None]).flatten(2).sum(2)
