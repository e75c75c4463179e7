"""What robust training minimises besides the cross-entropy of attacked images."""

import torch
import torch.nn.functional as F
from torch import Tensor

_MART_TINY = 1e-4
"""Of the authors' script: keeps the logarithm finite."""


def trades_loss(attacked: Tensor, clean: Tensor, label: Tensor, beta: float = 6.0) -> Tensor:
    """Cross-entropy of the clean images + beta KL(p(x) || p(x')) (Zhang et al. 2019, 1901.08573).

    The divergence is a mean over the batch. `F.kl_div` with reduction "mean" would divide by the
    classes too, so that the trade-off would depend on how many there are.

    Args:
        attacked: logits `(N, K)` for x', found by an attack on KL(p(x) || p(x')).
        clean: logits `(N, K)` for x; both terms are differentiated through them.
        label: `(N,)`.
        beta: how much agreement is worth, >= 0; 6 is published for CIFAR-10, 1 for MNIST.

    Returns:
        `()` in nats.

    >>> z = torch.tensor([[2.0, 0.0]])
    >>> float(trades_loss(z, z, torch.tensor([0]))) == float(F.cross_entropy(z, torch.tensor([0])))
    True
    """
    divergence = F.kl_div(
        attacked.log_softmax(1), clean.log_softmax(1), log_target=True, reduction="batchmean"
    )
    return F.cross_entropy(clean, label) + beta * divergence


def mart_loss(attacked: Tensor, clean: Tensor, label: Tensor, beta: float = 5.0) -> Tensor:
    """Misclassification-aware robust loss (Wang et al. 2020, ICLR, "MART").

    BCE(p(x'), y) + beta mean[KL(p(x) || p(x')) (1 - p_y(x))] with the boosted cross-entropy
    BCE = -log p_y(x') - log(1.0001 - max_{k != y} p_k(x')): images that the model gets wrong
    undisturbed weigh more.

    Args:
        attacked: logits `(N, K)` for x', found by an attack on the cross-entropy.
        clean: logits `(N, K)` for x.
        label: `(N,)`.
        beta: >= 0; the authors' script has 5, their loss function 6.

    Returns:
        `()` in nats.
    """
    others = attacked.softmax(1).scatter(1, label[:, None], 0.0)
    boosted = F.cross_entropy(attacked, label) - torch.log(1 + _MART_TINY - others.amax(1)).mean()
    apart = F.kl_div(
        attacked.log_softmax(1), clean.log_softmax(1), log_target=True, reduction="none"
    ).sum(1)
    right = clean.softmax(1).gather(1, label[:, None]).squeeze(1)
    return boosted + beta * (apart * (1 - right)).mean()
