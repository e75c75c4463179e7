"""Hinton's soft targets: the whole distribution of the teacher instead of one label."""

import torch.nn.functional as F
from torch import Tensor


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """T² · KL(softmax(t/T) || softmax(s/T)) in nats, summed over classes, mean over the batch.

    T² keeps the size of the gradient, (softmax(s/T) - softmax(t/T)) · T / N, about independent of
    T (Hinton, Vinyals & Dean 2015, 1503.02531). A mean over *elements*, as some published scripts
    have it, is smaller by the number of classes.

    Args:
        student: logits `(N, K)`.
        teacher: logits `(N, K)`; no gradient is needed.
        temperature: T > 0.
    """
    from_, to = F.log_softmax(student / temperature, 1), F.log_softmax(teacher / temperature, 1)
    return divergence(from_, to).mean() * temperature**2


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) in nats, `(N,)`; what the teacher rules out (0 · log 0) adds nothing.

    Args:
        student: log probabilities `(N, K)`.
        teacher: log probabilities `(N, K)`; minus infinity of a class that cannot be.
    """
    parts = F.kl_div(student, teacher, reduction="none", log_target=True)
    return parts.masked_fill(teacher.isneginf(), 0.0).sum(1)
