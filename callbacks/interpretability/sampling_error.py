"""How far a map would move if its masks were drawn anew."""

from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.explainer import Explainer
from callbacks.interpretability.regions.segments import areas, grid_segments, sum_by_segment
from callbacks.queries import Queries
from callbacks.randomness import Draw

_SURE = 1.96
"""Standard errors of a normal number within which 95 % are."""


class Estimated(NamedTuple):
    """A map with its sampling error.

    Args:
        map: `(N, 1, H, W)`; see `Explainer`.
        standard_error: `(N, 1, H, W)` over other draws of masks, in the map's unit; None of a
            method that draws nothing, or does not tell.
        shared: `(N,)` mean covariance of the errors of two pixels, where the level of the whole map
            is drawn too; None where it is not.
    """

    map: Tensor
    standard_error: Tensor | None = None
    shared: Tensor | None = None


def estimated(
    explainer: Explainer, model: Queries, image: Tensor, target: Tensor, draw: Draw
) -> Estimated:
    """Explains, with the sampling error where the explainer has a method `estimated` for it.

    Args:
        explainer: any.
        model: asked as by the explainer alone.
        image: `(N, C, H, W)`.
        target: `(N,)` classes.
        draw: of the samples.
    """
    if hasattr(explainer, "estimated"):
        return explainer.estimated(model, image, target, draw)  # type: ignore[attr-defined]
    return Estimated(explainer(model, image, target, draw))


def relative_error(estimate: Estimated) -> Tensor:
    """Mean standard error of a pixel over the largest absolute value of the map, `(N,)`.

    Not a number where the method tells no error, or the map is 0 everywhere.
    """
    most = estimate.map.flatten(1).abs().amax(1)
    if estimate.standard_error is None:
        return torch.full_like(most, torch.nan)
    return estimate.standard_error.flatten(1).mean(1) / most.where(most > 0, torch.nan)


def rivals(estimate: Estimated, grid: int = 7) -> Tensor:
    """How many other patches of a grid might be the largest as well, `(N,)` int64.

    Those whose difference from the largest is within 95 % of its sampling error. The errors of the
    pixels of a patch are added up, as if they went together, and those of two patches have only in
    common what all pixels have.

    Args:
        estimate: with a standard error.
        grid: patches along each side; that of the explainer has its own patches.
    """
    assert estimate.standard_error is not None, "asked of a method that draws nothing"
    segment = grid_segments(estimate.map, grid)
    value = sum_by_segment(estimate.map, segment)
    variance = sum_by_segment(estimate.standard_error, segment).square()
    best = value.argmax(1, keepdim=True)
    apart = variance + variance.gather(1, best)
    if estimate.shared is not None:
        area = areas(segment, grid**2).to(apart)
        apart = apart - 2 * area * area.take_along_dim(best, 1) * estimate.shared[:, None]
    lead = value.gather(1, best) - value
    close = ~(lead > _SURE * apart.clamp(min=0).sqrt())  # what has no error is not told apart
    return close.sum(1) - 1
