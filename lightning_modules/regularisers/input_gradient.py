"""The input-gradient penalty: a small change of an image is to change the loss little."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_UNLABELLED = -1


def input_gradient_penalty(ask: Callable[[Tensor], Tensor], image: Tensor, label: Tensor) -> Tensor:
    """Mean of |d loss / d x|^2 (Ross & Doshi-Velez 2018, 1711.09404; Drucker & Le Cun 1992).

    It is differentiated through the gradient, a second backward pass; fused attention has no such
    second derivative, so attention is computed by plain matrix products here.

    Args:
        ask: from images `(N, C, H, W)` to logits `(N, K)`, twice differentiable almost everywhere.
        image: `(N, C, H, W)` in [0, 1]; the gradient is by these, in pixel units.
        label: `(N,)`, of the cross-entropy; -1 of an image without one.

    Returns:
        `()`, the squared L2 norm of the gradient of each image's cross-entropy, averaged over all
        images.
    """
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        shown = image.detach().clone().requires_grad_()
        logits = ask(shown).float()
        loss = F.cross_entropy(logits, label, reduction="sum", ignore_index=_UNLABELLED)
        (gradient,) = torch.autograd.grad(loss, shown, create_graph=True)
    return gradient.square().sum() / len(image)
