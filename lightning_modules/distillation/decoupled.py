"""Decoupled knowledge distillation: the label's part and the other classes' part, apart."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.distillation.soft_targets import divergence


def decoupled_parts(
    student: Tensor, teacher: Tensor, label: Tensor, temperature: float = 4.0
) -> tuple[Tensor, Tensor]:
    """The two divergences of a sample, in nats and without T².

    KL(teacher || student) = TCKD + (1 - p_teacher(label)) · NCKD.

    Args:
        student: logits `(N, K)`, K >= 2.
        teacher: logits `(N, K)`.
        label: `(N,)` target classes.
        temperature: T > 0.

    Returns:
        TCKD `(N,)`, the binary divergence of "the label or not", and NCKD `(N,)`, the divergence
        over the other classes renormalised.
    """
    pairs, others = zip(
        *(_split(logits / temperature, label) for logits in (student, teacher)), strict=True
    )
    return divergence(*pairs), divergence(*others)


def decoupled_loss(
    student: Tensor,
    teacher: Tensor,
    label: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """T² · mean(alpha · TCKD + beta · NCKD) (Zhao et al. 2022, 2203.08679).

    Args:
        student: logits `(N, K)`.
        teacher: logits `(N, K)`.
        label: `(N,)` target classes.
        alpha: weight of the label's part; 1 as published.
        beta: weight of the others' part; published are 8 and 6 for wide teachers, 2 for ResNet-56.
        temperature: T > 0.
    """
    target, others = decoupled_parts(student, teacher, label, temperature)
    return (alpha * target + beta * others).mean() * temperature**2


def _split(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities `(N, 2)` of label and not-label, and `(N, K - 1)` of the others alone."""
    is_label = F.one_hot(label, logits.shape[1]).bool()
    others = logits[~is_label].view(len(logits), -1)
    # Not log(1 - p): that is -inf as soon as the label is certain in float32.
    pair = torch.stack([logits[is_label], others.logsumexp(1)], 1)
    return pair.log_softmax(1), others.log_softmax(1)
