"""Infidelity: the squared error of a map as a prediction of what removal does."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.metrics.subsets import random_subsets
from callbacks.interpretability.regions.fill import FillName
from callbacks.queries import Queries
from callbacks.randomness import Draw


class Estimate(NamedTuple):
    """A mean over draws with its standard error.

    Args:
        mean: `(N,)`.
        standard_error: `(N,)`.
    """

    mean: Tensor
    standard_error: Tensor


@dataclass(frozen=True)
class Infidelity:
    """Mean squared error of a map's sums as predictions of drops (Yeh et al. 2019, 1901.09392).

    Random patches are removed and the map is scaled optimally first. Divided by the mean
    squared drop, so that 0 is perfect and 1 says no more than "nothing matters"; with
    `relative=False` in squared logits. Captum takes 10 draws (a standard error of 45 %), unscaled.

    Args:
        draws: sets of patches; 200 leave a standard error of about 10 %.
        grid: patches along each side.
        share: of patches that go.
        fill: what replaces them.
        scaled: multiply each map by the factor that serves it best.
        relative: divide by the mean squared drop.
    """

    draws: int = 200
    grid: int = 7
    share: float = 0.2
    fill: FillName = "mean"
    scaled: bool = True
    relative: bool = True
    higher_is_better: ClassVar[bool | None] = False
    backwards: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses to draw nothing."""
        at_least(1, draws=self.draws)

    @property
    def forwards(self) -> int:
        """One for each set and one undisturbed."""
        return self.draws + 1

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        return self.estimated(model, image, target, saliency, draw).mean

    def estimated(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Estimate:
        """Returns the value with its standard error over the draws."""
        mass, drop = random_subsets(
            model, image, target, saliency, draw, self.draws, self.grid, self.share, self.fill
        )
        found = infidelity(mass, drop, self.scaled)
        if not self.relative:
            return found
        size = drop.square().mean(1)
        return Estimate(found.mean / size, found.standard_error / size)


def infidelity(mass: Tensor, drop: Tensor, scaled: bool = True) -> Estimate:
    """Mean of (beta·mass - drop)² for each row.

    Args:
        mass: `(N, K)` what the map predicts.
        drop: `(N, K)` what happens.
        scaled: choose beta = E[mass·drop] / E[mass²]; else beta is 1.

    Returns:
        The mean and its standard error, `(N,)` each, in squared units of the drop.
    """
    if scaled:
        power = mass.square().sum(1, keepdim=True)
        beta = (mass * drop).sum(1, keepdim=True) / power
        mass = mass * torch.where(power > 0, beta, 0)
    error = (mass - drop).square()
    return Estimate(error.mean(1), error.std(1) / error.shape[1] ** 0.5)
