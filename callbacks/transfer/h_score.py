"""H-score: how far class means lie apart, in units of the features' own scatter."""

import torch
from torch import Tensor

from callbacks.transfer.labels import class_means
from callbacks.transfer.shrinkage import ledoit_wolf

_NOTHING = 1e-15  # of the largest singular value; the reference implementation's


def h_score(features: Tensor, label: Tensor) -> float:
    """Trace of pinv(cov F) cov(E[F | y]) (Bao et al. 2019).

    Inflated where D is not far below N: noise alone reaches C-1 at D >= N. See
    `regularised_h_score`.

    Args:
        features: `(N, D)`.
        label: `(N,)`.

    Returns:
        A number in [0, min(D, C-1)]; higher is better.
    """
    features = features.double()
    between = _covariance(class_means(features, label))
    within = torch.linalg.pinv(_covariance(features), rtol=_NOTHING, hermitian=True)
    return float((within @ between).trace())


def regularised_h_score(features: Tensor, label: Tensor) -> float:
    """H-score with Ledoit & Wolf's covariance, safe for N < D (Ibrahim et al. 2021, 2110.06893).

    Args:
        features: `(N, D)`.
        label: `(N,)`.

    Returns:
        A number >= 0, at most (1 - shrinkage) (C-1); higher is better.
    """
    features = features.double()
    features = features - features.mean(0)
    covariance, share = ledoit_wolf(features)
    between = _covariance(class_means(features, label))
    within = torch.linalg.pinv(covariance, rtol=_NOTHING, hermitian=True)
    return float((1 - share) * (within @ between).trace())


def _covariance(features: Tensor) -> Tensor:
    """`(D, D)`, unlike torch's also for D = 1."""
    centred = features - features.mean(0)
    return centred.T @ centred / (len(features) - 1)
