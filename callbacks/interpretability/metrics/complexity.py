"""Complexity: over how many pixels is importance spread?"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Complexity:
    """Entropy of the map's share of each pixel, in nats (Bhatt et al. 2020, 2005.00631)."""

    higher_is_better: ClassVar[bool | None] = None
    forwards: int = field(default=0, init=False, repr=False)
    backwards: int = field(default=0, init=False, repr=False)

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        return entropy(saliency.flatten(1))


def entropy(value: Tensor) -> Tensor:
    """Entropy of |value| / sum of |value| for each row of `(N, P)`.

    Returns:
        `(N,)` in [0, ln P]: 0 if only one is not 0, ln P if all are equal; not a number if all
        are 0.
    """
    size = value.double().abs()
    return torch.special.entr(size / size.sum(1, keepdim=True)).sum(1).to(value)
