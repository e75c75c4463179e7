"""A linear surrogate of a model on patches of one image."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.explainer import scores
from callbacks.interpretability.fill import FillName, filled
from callbacks.interpretability.least_squares import r2, weighted_ridge
from callbacks.interpretability.segments import grid_segments, spread, switched
from callbacks.queries import Queries
from callbacks.randomness import Draw


class LimeFit(NamedTuple):
    """A linear surrogate with what it is worth.

    Args:
        weight: `(N, S)` of the patches, in logits.
        intercept: `(N,)`.
        r2: `(N,)` on draws that were not fitted; LIME itself reports it on the fitted ones.
    """

    weight: Tensor
    intercept: Tensor
    r2: Tensor


@dataclass(frozen=True)
class Lime:
    """Ridge regression on patches switched on and off (LIME; Ribeiro et al. 2016, 1602.04938).

    The constants are those of the authors' code: each patch is on with probability 1/2, a row
    weighs exp(-D²/(2·width²)) where D = 1 - sqrt(share on). Patches are squares, not quickshift
    segments, and the answer is a logit.

    Args:
        draws: rows fitted; the authors' 1,000.
        held_out: further rows for R².
        grid: patches along each side.
        fill: what a patch is that is off.
        width: of the kernel.
        penalty: of the ridge.
    """

    draws: int = 500
    held_out: int = 100
    grid: int = 7
    fill: FillName = "mean"
    width: float = 0.25
    penalty: float = 1.0

    @property
    def forwards(self) -> int:
        """One for each row."""
        return self.draws + self.held_out

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        weight = self.fitted(model, image, target, draw).weight
        return spread(weight, grid_segments(image, self.grid))

    def fitted(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LimeFit:
        """Fits the surrogate of every image."""
        rows = torch.arange(len(image), device=image.device).split(model.chunk or 128)
        parts = [self._fit(model, image[r], target[r], draw.select(r)) for r in rows]
        return LimeFit(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _fit(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LimeFit:
        segment, away = grid_segments(image, self.grid), filled(self.fill, image, draw)
        on = draw.uniform("lime", 0, (self.forwards, self.grid**2)) < 0.5
        on[:, 0] = True  # the image itself is the first row

        def partly(sample: Tensor, step: Tensor) -> Tensor:
            return torch.where(switched(on[sample, step], segment), image[sample], away[sample])

        value, feature = scores(model, image, target, self.forwards, partly), on.to(image)
        kernel = lime_kernel(feature, self.width)
        n = self.draws
        weight, intercept = weighted_ridge(
            feature[:, :n], value[:, :n], kernel[:, :n], self.penalty
        )
        guess = (feature[:, n:] * weight[:, None]).sum(2) + intercept[:, None]
        return LimeFit(weight, intercept, r2(value[:, n:], guess))


def lime_kernel(on: Tensor, width: float) -> Tensor:
    """Weight of a row by the cosine distance of its switches to all on.

    Args:
        on: `(..., S)` switches, 0 or 1.
        width: of the kernel.

    Returns:
        `(...)` in (0, 1].
    """
    distance = 1 - on.float().mean(-1).sqrt()
    return (-distance.square() / (2 * width**2)).exp()
