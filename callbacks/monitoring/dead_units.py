"""Units that never say anything, and how sure that is."""

import pandas as pd
import torch
from torch import Tensor

from callbacks.monitoring.streaming import LayerStatistics


def never_fired_bound(images: int, level: float = 0.95) -> float:
    """Largest share of images in which a unit may fire that fired in none of `images`.

    Solves (1 - p)^n = 1 - level exactly; the rule of three, 3/n, is its large-n form
    (Hanley & Lippman-Hand 1983).

    Args:
        images: independent ones; positions of one image are not.
        level: of confidence.
    """
    return 1 - (1 - level) ** (1 / images) if images else 1.0


def silent(statistics: LayerStatistics) -> Tensor:
    """`(C,)` bool: zero wherever it was looked at (a dead ReLU)."""
    return statistics.zeros >= statistics.count


def constant(statistics: LayerStatistics) -> Tensor:
    """`(C,)` bool: the same value wherever it was looked at; holds for any activation function."""
    return statistics.m2 == 0


def firing_rate_histogram(statistics: LayerStatistics, bins: int = 10) -> Tensor:
    """`(bins,)` how many units fire in which share of places; the count of zeros alone hides it."""
    rate = 1 - statistics.zero_rate
    place = (rate * bins).long().clamp(0, bins - 1)
    return torch.bincount(place, minlength=bins)


def dead_unit_table(layers: dict[str, LayerStatistics], images: int) -> pd.DataFrame:
    """One line a layer: `layer units silent constant bound` and the firing rates' quartiles.

    Args:
        layers: statistics by layer.
        images: how many were seen; `bound` is what a silent unit may still fire in, see
            `never_fired_bound`.
    """
    lines = []
    for name, statistics in layers.items():
        quartiles = (1 - statistics.zero_rate).quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64, device=statistics.mean.device)
        )
        lines.append(
            {
                "layer": name,
                "units": len(statistics.mean),
                "silent": int(silent(statistics).sum()),
                "constant": int(constant(statistics).sum()),
                "bound": never_fired_bound(images),
                **dict(zip(("firing_q25", "firing_q50", "firing_q75"), quartiles.tolist(),
                           strict=True)),
            }
        )  # fmt: skip
    return pd.DataFrame(lines)
