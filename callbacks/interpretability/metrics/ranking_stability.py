"""Do measures rank methods the same whatever the fill and the patches are?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau
from torch import Tensor

from callbacks.interpretability.metrics.symmetric_relevance_gain import SymmetricRelevanceGain
from callbacks.interpretability.regions.fill import FillName
from callbacks.queries import Queries
from callbacks.randomness import Draw

FILLS: tuple[FillName, ...] = ("black", "mean", "blur", "noise")
GRIDS: tuple[int | None, ...] = (4, 7, None)
"""Patches along each side; None: single pixels. With the fills, the settings that are tried."""


class Stability(NamedTuple):
    """Kendall's tau between the rankings of any two settings.

    Args:
        mean: over pairs.
        worst: smallest.
    """

    mean: float
    worst: float


def ranking_stability(values: ArrayLike) -> Stability:
    """Pairwise rank agreement of settings (Kendall 1938; used so in 2401.06654, 2024).

    Args:
        values: `(settings, methods)`, at least two of each.
    """
    table = np.asarray(values, float)
    taus = [kendalltau(a, b).statistic for a, b in combinations(table, 2)]  # type: ignore[attr-defined]
    return Stability(float(np.mean(taus)), float(np.min(taus)))


def gains_over_settings(
    model: Queries,
    image: Tensor,
    target: Tensor,
    maps: Mapping[str, Tensor],
    draw: Draw,
    fills: Sequence[FillName] = FILLS,
    grids: Sequence[int | None] = GRIDS,
    metric: SymmetricRelevanceGain | None = None,
) -> np.ndarray:
    """Mean symmetric relevance gain of every method under every fill and patch size.

    Args:
        model: that was explained.
        image: `(N, C, H, W)`.
        target: `(N,)`.
        maps: `(N, 1, H, W)` for each method.
        draw: the samples' random numbers.
        fills: what replaces removed patches.
        grids: patches along each side; None: pixels.
        metric: its steps and score; by default the usual ones.

    Returns:
        `(fills·grids, methods)`, for `ranking_stability`.
    """
    metric = metric or SymmetricRelevanceGain()
    rows = [
        [float(setting(model, image, target, saliency, draw).mean()) for saliency in maps.values()]
        for fill in fills
        for grid in grids
        for setting in [replace(metric, fill=fill, grid=grid)]
    ]
    return np.array(rows)
