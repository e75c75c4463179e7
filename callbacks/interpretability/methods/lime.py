"""A linear surrogate of a model on patches of one image."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import scores
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.interpretability.regions.segments import (
    SegmentsName,
    areas,
    segmented,
    spread,
    switched,
)
from callbacks.interpretability.sampling_error import Estimated
from callbacks.interpretability.surrogates.least_squares import r2, ridge_errors, weighted_ridge
from callbacks.queries import Queries
from callbacks.randomness import Draw


class LimeFit(NamedTuple):
    """A linear surrogate with what it is worth.

    Args:
        weight: `(N, S)` of the patches, in logits.
        intercept: `(N,)`.
        r2: `(N,)` on draws that were not fitted; LIME itself reports it on the fitted ones.
        standard_error: `(N, S)` of the weights, over other draws of rows.
    """

    weight: Tensor
    intercept: Tensor
    r2: Tensor
    standard_error: Tensor


@dataclass(frozen=True)
class Lime:
    """Ridge regression on patches switched on and off (LIME; Ribeiro et al. 2016, 1602.04938).

    The constants are those of the authors' code: each patch is on with probability 1/2, a row
    weighs exp(-D²/(2·width²)) where D = 1 - sqrt(share on). Patches are squares or SLIC
    superpixels, not quickshift segments, and the answer is a logit. An empty superpixel weighs 0
    and does not count in the share.

    Args:
        draws: rows fitted; the authors' 1,000.
        held_out: further rows for R².
        grid: patches along each side; grid² is the number of superpixels.
        fill: what a patch is that is off.
        width: of the kernel.
        penalty: of the ridge.
        segments: squares, the same for all images, or each image's superpixels.
    """

    draws: int = 500
    held_out: int = 100
    grid: int = 7
    fill: FillName = "mean"
    width: float = 0.25
    penalty: float = 1.0
    segments: SegmentsName = "grid"

    def __post_init__(self) -> None:
        """Refuses a fit to nothing."""
        at_least(1, draws=self.draws)
        at_least(0, held_out=self.held_out)

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
        return self.estimated(model, image, target, draw).map

    def estimated(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Estimated:
        """The map with its standard error, by the jackknife over the rows fitted."""
        segment = segmented(self.segments, image, self.grid, model.chunk or 128)
        fit = self._fits(model, image, segment, target, draw)
        return Estimated(spread(fit.weight, segment), spread(fit.standard_error, segment))

    def fitted(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LimeFit:
        """Fits the surrogate of every image."""
        segment = segmented(self.segments, image, self.grid, model.chunk or 128)
        return self._fits(model, image, segment, target, draw)

    def _fits(
        self, model: Queries, image: Tensor, segment: Tensor, target: Tensor, draw: Draw
    ) -> LimeFit:
        rows = torch.arange(len(image), device=image.device).split(model.chunk or 128)
        parts = [self._fit(model, image[r], segment[r], target[r], draw.select(r)) for r in rows]
        return LimeFit(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _fit(
        self, model: Queries, image: Tensor, segment: Tensor, target: Tensor, draw: Draw
    ) -> LimeFit:
        away = filled(self.fill, image, draw)
        on = draw.uniform("lime", 0, (self.forwards, self.grid**2)) < 0.5
        on[:, 0] = True  # the image itself is the first row

        def partly(sample: Tensor, step: Tensor) -> Tensor:
            there = switched(on[sample, step], segment[sample])
            return torch.where(there, image[sample], away[sample])

        value = scores(model, image, target, self.forwards, partly)
        present = areas(segment, self.grid**2) > 0
        feature = (on & present[:, None]).to(image)
        kernel = lime_kernel(feature, self.width, present[:, None])
        n = self.draws
        rows = (feature[:, :n], value[:, :n], kernel[:, :n], self.penalty)
        weight, intercept = weighted_ridge(*rows)
        weight = weight * present  # exactly 0, where solving leaves a rounding error
        guess = (feature[:, n:] * weight[:, None]).sum(2) + intercept[:, None]
        return LimeFit(weight, intercept, r2(value[:, n:], guess), ridge_errors(*rows) * present)


def lime_kernel(on: Tensor, width: float, present: Tensor | None = None) -> Tensor:
    """Weight of a row by the cosine distance of its switches to all on.

    Args:
        on: `(..., S)` switches, 0 or 1.
        width: of the kernel.
        present: `(..., S)` bool, False of switches without effect, which are 0; None has none.

    Returns:
        `(...)` in (0, 1].
    """
    share = on.float().mean(-1)
    if present is not None:
        share = share / present.float().mean(-1)
    distance = 1 - share.sqrt()
    return (-distance.square() / (2 * width**2)).exp()
