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
    x, y = x - centre[:, None], y - middle[:, None]
    weighted = (w[:, :, None] * x).mT
    gram = weighted @ x + penalty * torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
    inverse = torch.linalg.pinv(gram, hermitian=True)
    coefficient = (inverse @ (weighted @ y[:, :, None]))[:, :, 0]
    intercept = middle - (coefficient * centre).sum(1)
    return coefficient.to(answer), intercept.to(answer)


def r2(answer: Tensor, prediction: Tensor) -> Tensor:
    """Coefficient of determination of each row of `(N, S)`: `(N,)`, at most 1.

    Not a number where the answers do not vary: then there is nothing to explain.
    """
    y, guess = answer.double(), prediction.double()
    total = (y - y.mean(1, keepdim=True)).square().sum(1)
    left = (y - guess).square().sum(1)
    return torch.where(total > 0, 1 - left / total, torch.nan).to(answer)
