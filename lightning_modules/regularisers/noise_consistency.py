"""Noise consistency: the answer to a noisy image is to be that to the clean one."""

import torch.nn.functional as F
from torch import Tensor


def noise_consistency(noisy: Tensor, clean: Tensor) -> Tensor:
    """KL(p(x) || p(x + n)), a mean over images (stability training: Zheng et al. 2016, 1604.04326).

    The paper minimises the cross-entropy -sum p(x) log p(x + n), which is this and the entropy of
    p(x): that would reward certainty besides agreement, so the divergence is taken, which is 0
    where the answers agree.

    Args:
        noisy: logits `(N, K)` of images with normal noise.
        clean: logits `(N, K)` of the same images without; both sides are differentiated.

    Returns:
        `()` in nats, at least 0.
    """
    return F.kl_div(
        noisy.log_softmax(1), clean.log_softmax(1), log_target=True, reduction="batchmean"
    )
