"""Completeness: does a map add up to what there is to explain?"""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from callbacks.interpretability.explainer import target_logit
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Completeness:
    """|sum of the map - (f(x) - f(x0))| in logits; 0 for integrated gradients (1703.01365, 2017).

    Captum calls the signed difference the convergence delta.

    Args:
        baseline: x0, the explainer's own.
    """

    baseline: FillName = "black"
    higher_is_better: ClassVar[bool | None] = False
    forwards: int = field(default=2, init=False, repr=False)
    backwards: int = field(default=0, init=False, repr=False)

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        return (saliency.flatten(1).sum(1) - self.gain(model, image, target, draw)).abs()

    def gain(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """f(x) - f(x0) `(N,)` in logits: what the map is to add up to."""
        start = filled(self.baseline, image, draw)
        return target_logit(model(image), target) - target_logit(model(start), target)
