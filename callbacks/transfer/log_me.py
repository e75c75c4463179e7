"""LogME: the evidence for the labels under a linear model of the features."""

import math

import torch
from torch import Tensor

from callbacks.transfer.labels import one_hot

_ROUNDS = 200
_STABLE = 1e-10  # keeps a/b finite where nothing is explained, or nothing is left to explain


def log_me(features: Tensor, label: Tensor) -> float:
    """Log maximum evidence a sample, averaged over the classes (You et al. 2021, 2102.11005).

    Bayesian linear regression of each one-hot class on the features, with prior precision a and
    noise precision b at their fixed point. The log-determinant has D terms: directions that N < D
    samples do not see contribute ln a each. The project's own default routine leaves them out and
    ranks noise first.

    Args:
        features: `(N, D)`.
        label: `(N,)`.

    Returns:
        Nats a sample, higher is better; may be positive.
    """
    features, target = features.double(), one_hot(label)
    left, singular, _ = torch.linalg.svd(features, full_matrices=False)
    seen = left.T @ target  # (k, C): the part of each class that features can explain
    unseen = (target.square().sum(0) - seen.square().sum(0)).clamp_min(0)
    squares = singular.square()[:, None]
    a = torch.ones(target.shape[1], dtype=torch.double, device=features.device)
    b = a.clone()
    for _ in range(_ROUNDS):
        effective = (b * squares / (a + b * squares)).sum(0)
        weight, residual = _solution(a, b, squares, seen, unseen)
        a, b, before = (
            effective / (weight + _STABLE),
            (len(target) - effective) / (residual + _STABLE),
            a / b,
        )
        if bool(((a / b - before).abs() <= 1e-9 * before).all()):
            break
    return float(_evidence(a, b, squares, seen, unseen, features.shape).mean())


def _solution(
    a: Tensor, b: Tensor, squares: Tensor, seen: Tensor, unseen: Tensor
) -> tuple[Tensor, Tensor]:
    """Squared norms `(C,)` of the mean weights and of what they leave unexplained."""
    shrunk = b * squares / (a + b * squares)
    weight = (shrunk.square() * seen.square() / squares.clamp_min(_tiny(squares))).sum(0)
    residual = ((1 - shrunk).square() * seen.square()).sum(0) + unseen
    return weight, residual


def _evidence(
    a: Tensor, b: Tensor, squares: Tensor, seen: Tensor, unseen: Tensor, shape: torch.Size
) -> Tensor:
    n, d = shape
    weight, residual = _solution(a, b, squares, seen, unseen)
    determinant = (a + b * squares).log().sum(0) + (d - len(squares)) * a.log()
    total = d * a.log() + n * b.log() - determinant - b * residual - a * weight
    return (total - n * math.log(2 * math.pi)) / (2 * n)


def _tiny(squares: Tensor) -> float:
    return float(squares.max()) * torch.finfo(torch.double).eps ** 2
