"""Weighted linear regressions, one for every image at once."""

import torch
from torch import Tensor


def weighted_ridge(
    feature: Tensor, answer: Tensor, weight: Tensor, penalty: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Fits one linear function for each of N problems; the intercept is not penalised.

    The same as scikit-learn's `Ridge(alpha=penalty)` with sample weights.

    Args:
        feature: `(N, S, M)`, S rows of M features.
        answer: `(N, S)`.
        weight: `(N, S)`, not negative.
        penalty: of the squared coefficients.

    Returns:
        Coefficients `(N, M)` and intercepts `(N,)` in the type of the answers; solved in float64.
        Where features do not determine the coefficients, the shortest ones.
    """
    x, y, w = feature.double(), answer.double(), weight.double()
    share = (w / w.sum(1, keepdim=True))[:, :, None]
    centre, middle = (share * x).sum(1), (share[:, :, 0] * y).sum(1)
    coefficient = through_origin(x - centre[:, None], y - middle[:, None], w, penalty)
    intercept = middle - (coefficient * centre).sum(1)
    return coefficient.to(answer), intercept.to(answer)


def through_origin(feature: Tensor, answer: Tensor, weight: Tensor, penalty: float = 0.0) -> Tensor:
    """Fits one linear function without an intercept for each of N problems.

    Args:
        feature: `(N, S, M)` float64.
        answer: `(N, S)` float64.
        weight: `(N, S)` float64, not negative.
        penalty: of the squared coefficients.

    Returns:
        `(N, M)`; where features do not determine the coefficients, the shortest ones.
    """
    weighted = (weight[:, :, None] * feature).mT
    one = torch.eye(feature.shape[2], dtype=feature.dtype, device=feature.device)
    inverse = torch.linalg.pinv(weighted @ feature + penalty * one, hermitian=True)
    return (inverse @ (weighted @ answer[:, :, None]))[:, :, 0]


def r2(answer: Tensor, prediction: Tensor) -> Tensor:
    """Coefficient of determination of each row of `(N, S)`: `(N,)`, at most 1.

    Not a number where the answers do not vary: then there is nothing to explain.
    """
    y, guess = answer.double(), prediction.double()
    total = (y - y.mean(1, keepdim=True)).square().sum(1)
    left = (y - guess).square().sum(1)
    return torch.where(total > 0, 1 - left / total, torch.nan).to(answer)
