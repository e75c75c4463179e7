"""Robust distillation: the student answers for disturbed images what the teacher does for clean.

ARD (Goldblum et al. 2020, 1905.09747) needs no function of its own: it is the soft-target loss of
S(x') to T(x), where x' maximises the student's cross-entropy, beside the cross-entropy of S(x).
"""

import torch
from torch import Tensor

from lightning_modules.distillation.soft_targets import soft_target_loss


def rslad_loss(
    disturbed: Tensor,
    clean: Tensor,
    teacher: Tensor,
    clean_share: float = 1 / 6,
    temperature: float = 1.0,
) -> Tensor:
    """Robust soft-label distillation (Zi et al. 2021, 2108.07969), without any label.

    5/6 KL(T(x) || S(x')) + 1/6 KL(T(x) || S(x)) as batch means; the authors' script averages over
    elements, which makes it smaller by the number of classes.

    Args:
        disturbed: student's logits `(N, K)` for x', found by an attack on KL(T(x) || S(x')).
        clean: student's logits `(N, K)` for x.
        teacher: teacher's logits `(N, K)` for x.
        clean_share: weight of the second term, in [0, 1].
        temperature: 1 as published; else both terms are multiplied by its square.
    """
    parts = [soft_target_loss(logits, teacher, temperature) for logits in (disturbed, clean)]
    return torch.lerp(parts[0], parts[1], clean_share)
