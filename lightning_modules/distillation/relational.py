"""Relational knowledge: how samples lie to each other, whatever the dimensions."""

import torch
import torch.nn.functional as F
from torch import Tensor


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of all pair distances, each set divided by its mean positive distance.

    Args:
        student: features `(N, ...)`.
        teacher: features `(N, ...)` of the same samples, of any other size.
    """
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the cosines of the angles that all triples form; takes N³ numbers.

    Args:
        student: features `(N, ...)`.
        teacher: features `(N, ...)` of the same samples, of any other size.
    """
    return F.smooth_l1_loss(_cosines(student), _cosines(teacher))


def relational_loss(
    student: Tensor, teacher: Tensor, distance: float = 25.0, angle: float = 50.0
) -> Tensor:
    """Weighs both (Park et al. 2019, 1904.05068), with the weights published for CIFAR."""
    return distance * distance_loss(student, teacher) + angle * angle_loss(student, teacher)


def _relative_distances(feature: Tensor) -> Tensor:
    """`(N, N)`; zero where all samples are one point."""
    flat = feature.flatten(1)
    # Not by matrix products, which lose half the digits of small distances.
    distance = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    positive = distance > 0
    return distance / (distance.sum() / positive.sum().clamp_min(1)).clamp_min(1e-12)


def _cosines(feature: Tensor) -> Tensor:
    """`(N, N, N)`: at i the cosine between the directions to j and to k; 0 where there is none."""
    flat = feature.flatten(1)
    direction = F.normalize(flat[None] - flat[:, None], dim=2)
    return direction @ direction.mT
