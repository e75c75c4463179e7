"""Symmetric relevance gain: how much later the score falls if the least influential go first."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import target_logit, target_probability
from callbacks.interpretability.metrics.removal import area, ranked, removal_curve
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw

_SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "probability": target_probability,
    "logit": target_logit,
}


@dataclass(frozen=True)
class SymmetricRelevanceGain:
    """Area with the least influential removed first, less most influential first (2401.06654).

    In [-1, 1] for probabilities; 0 is expected of a random map, and the inverse map scores the
    negative. The difference cancels most of what the fill does to the model (Blücher et al. 2024).

    Args:
        steps: equal shares of the image.
        fill: what replaces the pixels.
        grid: patches along each side that go together; None: single pixels.
        score: "probability" or "logit".
    """

    steps: int = 8
    fill: FillName = "mean"
    grid: int | None = None
    score: Literal["probability", "logit"] = "probability"
    higher_is_better: ClassVar[bool | None] = True
    backwards: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses curves without steps."""
        at_least(1, steps=self.steps)

    @property
    def forwards(self) -> int:
        """Both ends are shared by the two curves."""
        return 2 * self.steps

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        most, least = self.curves(model, image, target, saliency, draw)
        return area(least) - area(most)

    def curves(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """Both curves `(N, steps + 1)`: most influential first, least influential first."""
        fill, score = filled(self.fill, image, draw), _SCORES[self.score]
        both = removal_curve(
            model, image, target, ranked(saliency, self.grid), fill, range(self.steps + 1),
            self.steps, score,
        )  # fmt: skip
        inner = removal_curve(
            model, image, target, ranked(-saliency, self.grid), fill, range(1, self.steps),
            self.steps, score,
        )  # fmt: skip
        return both, torch.cat([both[:, :1], inner, both[:, -1:]], 1)
