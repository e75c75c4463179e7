"""What fine-tuning minimises."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor


def probabilities(target: Tensor, classes: int, label_smoothing: float = 0.0) -> Tensor:
    """Turns labels `(N,)` or mixed labels `(N, K)` into smoothed probabilities `(N, K)`."""
    one_hot = F.one_hot(target, classes).float() if target.ndim == 1 else target
    return one_hot * (1 - label_smoothing) + label_smoothing / classes


def cross_entropy(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy in nats; label smoothing as in 1512.00567 (2015).

    Args:
        logits: `(N, K)`.
        target: labels `(N,)`, or probabilities `(N, K)` of mixed images.
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """
    return F.cross_entropy(logits, target, label_smoothing=label_smoothing)


def mse(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean squared error of the probabilities, summed over classes (the Brier score, in [0, 2]).

    The sum makes the gradient, hence a good learning rate, independent of the number of classes.

    Args:
        logits: `(N, K)`.
        target: labels `(N,)`, or probabilities `(N, K)` of mixed images.
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """
    wanted = probabilities(target, logits.shape[1], label_smoothing)
    return (logits.softmax(1) - wanted).square().sum(1).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "cross_entropy": cross_entropy,
    "mse": mse,
}
