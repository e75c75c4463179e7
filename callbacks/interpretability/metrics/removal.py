"""Pixels taken away, or put back, in the order of a map: the curves of faithfulness."""

from collections.abc import Callable

import torch
from torch import Tensor

from callbacks.interpretability.explainer import scores, target_probability
from callbacks.interpretability.regions.segments import grid_segments, sum_by_segment
from callbacks.queries import Queries


def removal_curve(
    model: Queries,
    image: Tensor,
    target: Tensor,
    rank: Tensor,
    fill: Tensor,
    steps: range,
    of: int,
    score: Callable[[Tensor, Tensor], Tensor] = target_probability,
) -> Tensor:
    """Scores images whose first k/of pixels, all channels together, are replaced.

    Args:
        model: asked for `N·len(steps)` answers.
        image: `(N, C, H, W)`.
        target: `(N,)`.
        rank: `(N, H, W)` from `ranked`, the share of the image up to each pixel's middle.
        fill: `(N, C, H, W)` the replacement.
        steps: the k to be asked for.
        of: equal steps from nothing to everything.
        score: of logits and classes.

    Returns:
        `(N, len(steps))`.
    """
    at = torch.tensor(list(steps), device=image.device)

    def replaced(sample: Tensor, step: Tensor) -> Tensor:
        gone = rank[sample] * of < at[step][:, None, None]
        return torch.where(gone[:, None], fill[sample], image[sample])

    return scores(model, image, target, len(at), replaced, score)


def ranked(saliency: Tensor, grid: int | None = None) -> Tensor:
    """Orders pixels, or patches, from the most to the least influential.

    Args:
        saliency: `(N, 1, H, W)`.
        grid: patches along each side that go together, by their mean; None ranks single pixels.

    Returns:
        `(N, H, W)` float32 in (0, 1): the share of the image that goes before, and half of the
        pixel or patch itself, so that no share meets a step but for rounding, however many pixels
        there are. Equal values go from left to right and top to bottom: the order is defined.
    """
    if grid is None:
        place = _places(saliency.flatten(1))
        return ((place + 0.5) / place.shape[1]).reshape(len(saliency), *saliency.shape[2:])
    segment = grid_segments(saliency, grid)
    mean = sum_by_segment(saliency, segment) / torch.bincount(segment.flatten())
    return ((_places(mean) + 0.5) / mean.shape[1])[:, segment]


def area(curve: Tensor) -> Tensor:
    """Area under `(N, n + 1)` scores at n equal steps from 0 to 1, by trapezoids: `(N,)`."""
    return torch.trapezoid(curve, dim=1) / (curve.shape[1] - 1)


def _places(value: Tensor) -> Tensor:
    """Position of each of `(N, P)` in descending order, `(N, P)` float32."""
    order = value.argsort(dim=1, descending=True, stable=True)
    place = torch.arange(value.shape[1], device=value.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, place).float()
