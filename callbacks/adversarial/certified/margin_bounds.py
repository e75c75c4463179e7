"""From bounds of a network to the least margin of each image over all classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from callbacks.adversarial.certified.linear_bounds import crown_boxes, interval_boxes, lower_bound
from callbacks.adversarial.certified.program import Step
from callbacks.adversarial.certified.relaxations import Box
from callbacks.adversarial.threat_models import L2, Linf


class MarginBounds(Protocol):
    """A lower bound of the margins of a network in a ball."""

    def __call__(
        self, steps: Sequence[Step], image: Tensor, label: Tensor, threat: Linf | L2
    ) -> Tensor:
        """Bounds the margins.

        Args:
            steps: of the network, see `program`.
            image: `(N, C, H, W)` float64 in [0, 1].
            label: `(N,)` classes.
            threat: the ball.

        Returns:
            `(N, K)`: the least that the label's logit less that of each class can be; 0 for the
            label itself.
        """
        ...


@dataclass(frozen=True)
class IntervalBounds:
    """Interval bound propagation (Gowal et al. 2018, 1810.12715): cheap and wide."""

    def __call__(
        self, steps: Sequence[Step], image: Tensor, label: Tensor, threat: Linf | L2
    ) -> Tensor:
        """Bounds the margins; see `MarginBounds`."""
        boxes = interval_boxes(steps, image, threat)
        return _margins(steps, boxes, image, label, threat, len(steps) - 1)


@dataclass(frozen=True)
class Crown:
    """Linear relaxation of the whole network (CROWN, 1811.00866, 2018): dearer and narrower."""

    def __call__(
        self, steps: Sequence[Step], image: Tensor, label: Tensor, threat: Linf | L2
    ) -> Tensor:
        """Bounds the margins; see `MarginBounds`."""
        boxes = crown_boxes(steps, image, threat)
        last = len(steps) - 1
        linear, interval = (
            _margins(steps, boxes, image, label, threat, first) for first in (0, last)
        )
        return torch.maximum(linear, interval)


def _margins(
    steps: Sequence[Step],
    boxes: Sequence[Box],
    image: Tensor,
    label: Tensor,
    threat: Linf | L2,
    first: int,
) -> Tensor:
    """Least margins, `(N, K)`; steps before `first` are bounded by their intervals."""
    classes = boxes[-1].low.shape[1]
    unit = torch.eye(classes, dtype=image.dtype, device=image.device)
    wanted = unit[label][:, None] - unit[None]  # (N, K, K): its own logit less that of each class
    return lower_bound(steps, boxes, len(steps) - 1, wanted, image, threat, first)
