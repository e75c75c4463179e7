"""Brings a student's features to the teacher's shape."""

import torch.nn.functional as F
from torch import Tensor, nn

from datamodules.errors import UserError


def projection(student: Tensor, teacher: Tensor) -> nn.Module:
    """Makes the learnt map between two layers: 1x1 convolution, linear layer, or nothing.

    Args:
        student: features of one example, `(1, C, H, W)` or `(1, C)`.
        teacher: the same of the teacher; the places may differ, see `same_places`.

    Raises:
        UserError: a layer is neither an image nor a vector.
    """
    for feature in (student, teacher):
        if feature.ndim not in (2, 4):
            raise UserError(
                "Expected features of shape (N, C, H, W) or (N, C), but got "
                f"{tuple(feature.shape)}: choose other `distillation.layers`."
            )
    from_, to = student.shape[1], teacher.shape[1]
    if from_ == to:
        return nn.Identity()
    both_images = student.ndim == teacher.ndim == 4
    return nn.Conv2d(from_, to, 1, bias=False) if both_images else nn.Linear(from_, to, bias=False)


def same_places(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Averages features over places until both have the same ones.

    Args:
        student: `(N, C, H, W)` or `(N, C)`.
        teacher: `(N, D, H', W')` or `(N, D)`.

    Returns:
        Both, at the smaller of the heights and widths; as vectors if one of them is a vector.
    """
    if student.ndim == teacher.ndim == 2:
        return student, teacher
    if student.ndim != teacher.ndim:
        vectors = [maps.mean((2, 3)) if maps.ndim == 4 else maps for maps in (student, teacher)]
        return vectors[0], vectors[1]
    height, width = (min(student.shape[axis], teacher.shape[axis]) for axis in (2, 3))
    pooled = [F.adaptive_avg_pool2d(maps, (height, width)) for maps in (student, teacher)]
    return pooled[0], pooled[1]
