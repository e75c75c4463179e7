"""Integrated gradients by chance: random baselines, random points on the way."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import pairs, target_logit
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class GradientShap:
    """Mean of (x - x0) times the gradient at random points (Lundberg & Lee 2017, 1705.07874).

    Captum's definition with more draws (its default: 5).

    Args:
        draws: points.
        noise: standard deviation of noise on the image, in pixel units.
        donors: `(M, C, H, W)` images that serve as baselines x0, or "black"; None is black too, but
            a probe puts images of its data there.
    """

    draws: int = 25
    noise: float = 0.02
    donors: Tensor | Literal["black"] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses a mean over nothing."""
        at_least(1, draws=self.draws)

    @property
    def forwards(self) -> int:
        """One for each draw."""
        return self.draws

    @property
    def backwards(self) -> int:
        """One for each draw."""
        return self.draws

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        total, given = torch.zeros_like(image), self.donors
        donors = given.to(image) if isinstance(given, Tensor) else None
        for sample, step in pairs(model, image, self.draws):
            own = draw.select(sample)
            normal = own.normal("gradient shap noise", step, tuple(image.shape[1:]))
            point = image[sample] + self.noise * normal
            way = point if donors is None else point - _chosen(donors, own, step)
            share = own.uniform("gradient shap place", step, (1, 1, 1))
            place = point - (1 - share) * way
            _, _, gradient = model.gradient(place, target_logit, target[sample])
            total.index_add_(0, sample, (way * gradient / self.draws).to(image))
        return total.sum(1, keepdim=True)


def _chosen(donors: Tensor, draw: Draw, step: Tensor) -> Tensor:
    return donors[(draw.uniform("gradient shap donor", step, ()) * len(donors)).long()]
