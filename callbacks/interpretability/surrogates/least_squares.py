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
    x, y, centre, middle = _centred(feature, answer, weight)
    coefficient = through_origin(x, y, weight.double(), penalty)
    intercept = middle - (coefficient * centre).sum(1)
    return coefficient.to(answer), intercept.to(answer)


def ridge_errors(feature: Tensor, answer: Tensor, weight: Tensor, penalty: float = 0.0) -> Tensor:
    """Standard errors `(N, M)` of `weighted_ridge` over other rows, by the jackknife.

    Args:
        feature: see `weighted_ridge`, as all others.
        answer: the same.
        weight: the same.
        penalty: the same; what it bends the coefficients by is no error of sampling.
    """
    x, y, *_ = _centred(feature, answer, weight)
    w = weight.double()
    return jackknife_error(left_out(x, y, w, penalty, w / w.sum(1, keepdim=True))).to(answer)


def _centred(feature: Tensor, answer: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """Features and answers in float64 less their weighted means, and those means."""
    x, y, w = feature.double(), answer.double(), weight.double()
    share = (w / w.sum(1, keepdim=True))[:, :, None]
    centre, middle = (share * x).sum(1), (share[:, :, 0] * y).sum(1)
    return x - centre[:, None], y - middle[:, None], centre, middle


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
    return (_reach(feature, weight, penalty) @ answer[:, :, None])[:, :, 0]


def left_out(
    feature: Tensor,
    answer: Tensor,
    weight: Tensor,
    penalty: float = 0.0,
    mean: Tensor | float = 0.0,
) -> Tensor:
    """How far each row has moved the coefficients: fitted with it, less fitted without it.

    By Sherman & Morrison (1950), exactly, and without a further fit.

    Args:
        feature: see `through_origin`.
        answer: the same.
        weight: the same.
        penalty: the same.
        mean: `(N, S)` the rows' share of a mean that was taken away first; 0 of no intercept.

    Returns:
        `(N, S, M)`; not a number of a row without which nothing is determined.
    """
    reach = _reach(feature, weight, penalty)
    residual = answer - (feature @ (reach @ answer[:, :, None]))[:, :, 0]
    left = 1 - (feature * reach.mT).sum(2) - mean
    return reach.mT * (residual / left.where(left > 1e-9, torch.nan))[:, :, None]


def jackknife_error(moved: Tensor) -> Tensor:
    """Standard errors `(N, M)` out of what each row has moved, `(N, S, M)` (Tukey 1958)."""
    count = moved.shape[1]
    return ((count - 1) / count * moved.square().sum(1)).sqrt()


def _reach(feature: Tensor, weight: Tensor, penalty: float) -> Tensor:
    """What each row's answer adds to the coefficients, `(N, M, S)`."""
    weighted = (weight[:, :, None] * feature).mT
    one = torch.eye(feature.shape[2], dtype=feature.dtype, device=feature.device)
    return torch.linalg.pinv(weighted @ feature + penalty * one, hermitian=True) @ weighted


def r2(answer: Tensor, prediction: Tensor) -> Tensor:
    """Coefficient of determination of each row of `(N, S)`: `(N,)`, at most 1.

    Not a number where the answers do not vary: then there is nothing to explain.
    """
    y, guess = answer.double(), prediction.double()
    total = (y - y.mean(1, keepdim=True)).square().sum(1)
    left = (y - guess).square().sum(1)
    return torch.where(total > 0, 1 - left / total, torch.nan).to(answer)
