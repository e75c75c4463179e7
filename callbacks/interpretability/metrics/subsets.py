"""Random sets of patches: what a map says of them, and what really happens without them."""

from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.explainer import scores, target_logit
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.interpretability.regions.segments import grid_segments, sum_by_segment, switched
from callbacks.queries import Queries
from callbacks.randomness import Draw


class SubsetDrops(NamedTuple):
    """Claims and facts about K sets of patches.

    Args:
        mass: `(N, K)` sum of the map over each set.
        drop: `(N, K)` how much the class's logit falls without it.
    """

    mass: Tensor
    drop: Tensor


def subset_drops(
    model: Queries,
    image: Tensor,
    target: Tensor,
    saliency: Tensor,
    without: Tensor,
    fill: Tensor,
) -> SubsetDrops:
    """Asks for the logit without given sets of patches.

    Args:
        model: asked for `N·(K + 1)` answers.
        image: `(N, C, H, W)`.
        target: `(N,)`.
        saliency: `(N, 1, H, W)`.
        without: `(N, K, S)` bool, the patches in each set; S is a square number.
        fill: `(N, C, H, W)` what takes their place.
    """
    segment = grid_segments(image, round(without.shape[2] ** 0.5))

    def lacking(sample: Tensor, step: Tensor) -> Tensor:
        gone = switched(without[sample, step], segment)
        return torch.where(gone, fill[sample], image[sample])

    left = scores(model, image, target, without.shape[1], lacking)
    mass = (without * sum_by_segment(saliency, segment)[:, None]).sum(2)
    return SubsetDrops(mass, target_logit(model(image), target)[:, None] - left)


def random_subsets(
    model: Queries,
    image: Tensor,
    target: Tensor,
    saliency: Tensor,
    draw: Draw,
    draws: int,
    grid: int,
    share: float,
    fill: FillName,
) -> SubsetDrops:
    """Asks about sets in which every patch is with probability `share`; see `subset_drops`."""
    without = draw.uniform("subsets", 0, (draws, grid**2)) < share
    return subset_drops(model, image, target, saliency, without, filled(fill, image, draw))
