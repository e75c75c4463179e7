"""Labels that a model's own probabilities speak against."""

import torch
from torch import Tensor

from datamodules.errors import UserError


def suspects(probability: Tensor, label: Tensor) -> Tensor:
    """Marks samples whose label is likely wrong, by confident learning.

    A sample counts for the class whose probability is at or above that class's threshold, the mean
    probability of the class among the samples labelled so; of several, the most probable. Marked
    are the samples that count for another class than their label and are less probable under their
    label than under that one (Northcutt, Jiang, Chuang, 1911.00068, 2021: the confident joint's
    off-diagonal).

    Args:
        probability: `(N, K)`, best of a model that has not seen the samples.
        label: `(N,)`.

    Returns:
        `(N,)` bool.

    Raises:
        UserError: shapes that do not match.
    """
    if probability.ndim != 2 or label.shape != probability.shape[:1]:
        raise UserError(
            f"Expected probabilities (N, K) and labels (N,), but got {tuple(probability.shape)} "
            f"and {tuple(label.shape)}."
        )
    classes = torch.arange(probability.shape[1], device=label.device)
    own = label[:, None] == classes
    threshold = (probability * own).sum(0) / own.sum(0).clamp(min=1)
    able = (probability >= threshold) & own.any(0)
    best = probability.masked_fill(~able, -1).argmax(1)
    return able.any(1) & (best != label)
