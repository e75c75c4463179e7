"""A covariance that can be inverted also where samples are few."""

from torch import Tensor, eye


def ledoit_wolf(features: Tensor) -> tuple[Tensor, float]:
    """Shrinks the sample covariance towards a multiple of the identity (Ledoit & Wolf 2004).

    Args:
        features: `(N, D)` float64.

    Returns:
        Covariance `(D, D)` and the share of the identity in it, in [0, 1].
    """
    n, d = features.shape
    centred = features - features.mean(0)
    empirical = centred.T @ centred / n
    scale = float(empirical.trace()) / d
    squares = float(empirical.square().sum())
    noise = (float(centred.square().sum(1).square().sum()) / n - squares) / (n * d)
    distance = (squares - d * scale**2) / d
    share = min(noise, distance) / distance if distance > 0 and noise > 0 else 0.0
    identity = eye(d, dtype=features.dtype, device=features.device)
    return (1 - share) * empirical + share * scale * identity, share
