"""FitNets: the student's features shall be the teacher's."""

import torch.nn.functional as F
from torch import Tensor


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of features (Romero et al. 2015, 1412.6550); published weight 100.

    Args:
        student: `(N, ...)`, after the projection onto the teacher's shape.
        teacher: `(N, ...)`.
    """
    return F.mse_loss(student, teacher)
