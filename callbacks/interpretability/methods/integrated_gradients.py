"""Gradients collected on the way from a baseline to the image."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import mean_gradient
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class IntegratedGradients:
    """(x - x0) times the mean gradient between x0 and x (Sundararajan et al. 2017, 1703.01365).

    Its map sums to f(x) - f(x0), up to the error of the quadrature. The same as Captum's with
    `method="gausslegendre"`, whose zero is x0 = 0 too.

    Args:
        points: of the Gauss–Legendre quadrature.
        baseline: x0.
    """

    points: int = 32
    baseline: FillName = "black"

    def __post_init__(self) -> None:
        """Refuses an integral over nothing."""
        at_least(1, points=self.points)

    @property
    def forwards(self) -> int:
        """One for each point."""
        return self.points

    @property
    def backwards(self) -> int:
        """One for each point."""
        return self.points

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        start = filled(self.baseline, image, draw)
        return integrated_gradients(model, image, target, start, self.points).sum(1, keepdim=True)


def integrated_gradients(
    model: Queries, image: Tensor, target: Tensor, baseline: Tensor, points: int
) -> Tensor:
    """Integrates the gradient of the target's logit along the straight line from a baseline.

    Args:
        model: asked for `N·points` gradients.
        image: `(N, C, H, W)`.
        target: `(N,)`.
        baseline: `(N, C, H, W)`, where the line begins.
        points: of the quadrature.

    Returns:
        `(N, C, H, W)`, in logits.
    """
    position, weight = gauss_legendre(points, image)
    way = image - baseline

    def between(sample: Tensor, step: Tensor) -> Tensor:
        return baseline[sample] + position[step, None, None, None] * way[sample]

    return way * mean_gradient(model, image, target, points, between, weight)


def gauss_legendre(points: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in (0, 1) and weights, which add up to 1, exact for degree 2·points - 1."""
    position, weight = np.polynomial.legendre.leggauss(points)
    return torch.tensor((position + 1) / 2).to(like), torch.tensor(weight / 2).to(like)
