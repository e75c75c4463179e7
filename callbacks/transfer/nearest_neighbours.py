"""k nearest neighbours: whether samples of a class lie together already."""

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.transfer.labels import one_hot

_ROWS = 1024  # of the similarity matrix at a time


def neighbour_accuracy(features: Tensor, label: Tensor, k: int = 5) -> float:
    """Leave-one-out accuracy of a vote among the k nearest by cosine.

    A tie goes to the smallest label, as in scikit-learn.

    Args:
        features: `(N, D)`.
        label: `(N,)`.
        k: neighbours; at most N - 1 are taken.

    Returns:
        A share in [0, 1].
    """
    unit, members = F.normalize(features.double(), dim=1), one_hot(label)
    k, right = min(k, len(unit) - 1), 0
    for start in range(0, len(unit), _ROWS):
        rows = torch.arange(start, min(start + _ROWS, len(unit)), device=unit.device)
        similarity = unit[rows] @ unit.T
        similarity[rows - start, rows] = -torch.inf  # never its own neighbour
        votes = members[similarity.topk(k).indices].sum(1)
        right += int((votes.argmax(1) == members[rows].argmax(1)).sum())
    return right / len(unit)
