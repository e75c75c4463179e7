"""Integrated gradients by chance: random baselines, random points on the way."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

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
        donors: `(M, C, H, W)` images that serve as baselines x0; None takes black.
    """

    draws: int = 25
    noise: float = 0.02
    donors: Tensor | None = field(default=None, repr=False, compare=False)

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
        total = torch.zeros_like(image)
        for sample, step in pairs(model, image, self.draws):
            own = draw.select(sample)
            normal = own.normal("gradient shap noise", step, tuple(image.shape[1:]))
            point = image[sample] + self.noise * normal
            way = point - self._baseline(image, own, step)
            share = own.uniform("gradient shap place", step, (1, 1, 1))
            place = point - (1 - share) * way
            _, _, gradient = model.gradient(place, target_logit, target[sample])
            total.index_add_(0, sample, (way * gradient / self.draws).to(image))
        return total.sum(1, keepdim=True)

    def _baseline(self, image: Tensor, draw: Draw, step: Tensor) -> Tensor | float:
        if self.donors is None:
            return 0.0
        which = draw.uniform("gradient shap donor", step, ()) * len(self.donors)
        return self.donors.to(image)[which.long()]
