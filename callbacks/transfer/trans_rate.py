"""TransRate: how much shorter features are coded once their class is known."""

import torch
from torch import Tensor

from callbacks.transfer.labels import compact


def trans_rate(features: Tensor, label: Tensor, distortion: float = 1e-4) -> float:
    """Coding rate of all features minus the mean rate of a class (Huang et al. 2022, 2106.09362).

    Args:
        features: `(N, D)`; centred here.
        label: `(N,)`.
        distortion: epsilon of the rate.

    Returns:
        Nats; higher is better.
    """
    features, label = features.double(), compact(label)
    features = features - features.mean(0)
    classes = int(label.max()) + 1
    parts = [_rate(features[label == c], distortion) for c in range(classes)]
    return float(_rate(features, distortion) - sum(parts) / classes)


def _rate(features: Tensor, distortion: float) -> Tensor:
    """Half the log-determinant of I + Z'Z / (n eps), by the smaller of the two Gram matrices."""
    n, d = features.shape
    gram = features.T @ features if d <= n else features @ features.T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.slogdet(identity + gram / (n * distortion)).logabsdet / 2
