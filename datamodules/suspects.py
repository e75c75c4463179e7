"""Labels that a model's own probabilities speak against."""

from typing import Literal

import torch
from torch import Tensor

from datamodules.errors import UserError


def suspects(
    probability: Tensor, label: Tensor, by: Literal["joint", "noise_rate"] = "joint"
) -> Tensor:
    """Marks samples whose label is likely wrong, by confident learning.

    A sample counts for the class whose probability is at or above that class's threshold, the mean
    probability of the class among the samples labelled so; of several, the most probable. Marked
    are the samples that count for another class than their label and are less probable under their
    label than under that one (Northcutt, Jiang, Chuang, 1911.00068, 2021: the confident joint's
    off-diagonal).

    Args:
        probability: `(N, K)`, best of a model that has not seen the samples.
        label: `(N,)`.
        by: "joint" marks the off-diagonal, as above; "noise_rate" as many of each class as the
            calibrated joint says, those of largest margin (prune by noise rate).

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
    if by == "noise_rate":
        return _by_noise_rate(probability, label)
    confident = _confident_class(probability, label)
    return (confident >= 0) & (confident != label)


def confident_joint(probability: Tensor, label: Tensor) -> Tensor:
    """How many samples of each given class (row) count for each class, calibrated to the labels.

    Args:
        probability: `(N, K)` of a model that has not seen the samples.
        label: `(N,)`.

    Returns:
        `(K, K)` float64; rows sum to how often the label is given.
    """
    classes = probability.shape[1]
    confident = _confident_class(probability, label)
    pairs = (label * classes + confident)[confident >= 0]
    joint = pairs.bincount(minlength=classes**2).view(classes, classes).double()
    joint.diagonal().clamp_(min=1)  # no row without a sample of its own
    given = label.bincount(minlength=classes).double()
    return joint / joint.sum(1, keepdim=True) * given[:, None]


def _by_noise_rate(probability: Tensor, label: Tensor) -> Tensor:
    joint, marked = _rounded(confident_joint(probability, label)), torch.zeros_like(label) > 0
    for given, true in joint.nonzero().tolist():
        rows = (label == given).nonzero()[:, 0]
        margin = probability[rows, true] - probability[rows, given]
        if given != true:
            marked[rows[margin.argsort(descending=True)[: int(joint[given, true])]]] = True
    return marked & (probability.argmax(1) != label)


def _rounded(joint: Tensor) -> Tensor:
    """Rounds counts so that rows keep their sums: what is left over goes to the largest parts."""
    rounded = joint.floor()
    left = (joint - rounded).sum(1, keepdim=True).round()
    rank = (joint - rounded).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (rounded + (rank < left)).long()


def _confident_class(probability: Tensor, label: Tensor) -> Tensor:
    """The class each sample counts for; -1 for none."""
    classes = torch.arange(probability.shape[1], device=label.device)
    own = label[:, None] == classes
    threshold = (probability * own).sum(0) / own.sum(0).clamp(min=1)
    above_threshold = (probability >= threshold) & own.any(0)
    best = probability.masked_fill(~above_threshold, -1).argmax(1)
    return torch.where(above_threshold.any(1), best, -1)
