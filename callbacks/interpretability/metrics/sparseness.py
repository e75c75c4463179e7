"""Sparseness: is importance held by few pixels?"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Sparseness:
    """Gini coefficient of the map's absolute values (Chalasani et al. 2020, 1810.06583)."""

    higher_is_better: ClassVar[bool | None] = None
    forwards: int = field(default=0, init=False, repr=False)
    backwards: int = field(default=0, init=False, repr=False)

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        return gini(saliency.flatten(1))


def gini(value: Tensor) -> Tensor:
    """Gini coefficient of the absolute values of each row of `(N, P)`.

    Returns:
        `(N,)` in [0, 1 - 1/P]: 0 if all are equal, 1 - 1/P if only one is not 0; not a number if
        all are 0.
    """
    size = value.double().abs().sort(1).values
    n = size.shape[1]
    place = 2 * torch.arange(1, n + 1, device=value.device) - n - 1
    return ((place * size).sum(1) / (n * size.sum(1))).to(value)
