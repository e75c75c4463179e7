"""Labels as the scores of transfer want them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import UserError


def compact(label: Tensor) -> Tensor:
    """Renumbers labels `(N,)` to 0..C-1 without gaps; a class without samples says nothing.

    Raises:
        UserError: fewer than two classes, which nothing can tell apart.
    """
    present, numbers = torch.unique(label, return_inverse=True)
    if len(present) < 2:
        raise UserError(
            f"Expected samples of at least two classes to predict transfer, but got "
            f"{len(present)}: give a larger --fractions."
        )
    return numbers


def one_hot(label: Tensor) -> Tensor:
    """From labels `(N,)` to `(N, C)` float64 of the classes that occur."""
    return F.one_hot(compact(label)).double()


def class_means(features: Tensor, label: Tensor) -> Tensor:
    """Replaces every row of `(N, D)` features by the mean of its class."""
    members = one_hot(label)
    return members @ ((members.T @ features) / members.sum(0)[:, None])
