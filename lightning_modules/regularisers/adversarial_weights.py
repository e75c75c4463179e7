"""Adversarial weight perturbation: the gradient is taken where the loss is worse nearby."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_TINY = 1e-20
"""Of the authors' script, in the denominator."""


def worst_offsets(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], gamma: float
) -> list[Tensor]:
    """One step uphill, of gamma times its own length for each layer (Wu et al. 2020, 2004.05884).

    Args:
        weights: tensors of any shape.
        gradients: of the loss by them.
        gamma: relative length, > 0; .01 is published for adversarial training, .005 for TRADES.

    Returns:
        `gamma |w| g / |g|` for each, 0 where the gradient is.
    """
    return [
        gamma * weight.norm() * gradient / (gradient.norm() + _TINY)
        for weight, gradient in zip(weights, gradients, strict=True)
    ]


class AdversarialWeights:
    """Moves a model's weights uphill, and back to the bit.

    Only tensors of more than one dimension move, as in the authors' script; biases and norms stay.
    What batch norms count on the way up is taken back.

    Args:
        gamma: see `worst_offsets`.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self._before: list[tuple[Tensor, Tensor]] = []

    def climb(self, model: nn.Module, loss: Callable[[], Tensor]) -> None:
        """Leaves the model at the worse weights; `restore` takes it back.

        Args:
            model: in training; what requires no gradient stays where it is.
            loss: the batch's, by the weights as they are.
        """
        moved = [w for w in model.parameters() if w.requires_grad and w.ndim > 1]
        counts = [(buffer, buffer.clone()) for buffer in model.buffers()]
        found = torch.autograd.grad(loss(), moved, allow_unused=True)
        _put_back(counts)
        used = [(w, g) for w, g in zip(moved, found, strict=True) if g is not None]
        self._before = [(weight, weight.detach().clone()) for weight, _ in used]
        with torch.no_grad():
            offsets = worst_offsets([w for w, _ in used], [g for _, g in used], self.gamma)
            for (weight, _), offset in zip(used, offsets, strict=True):
                weight.add_(offset)

    def restore(self) -> None:
        """Takes the weights back, bit by bit; nothing happens where they are there already."""
        _put_back(self._before)
        self._before = []


@torch.no_grad()
def _put_back(kept: Sequence[tuple[Tensor, Tensor]]) -> None:
    for tensor, before in kept:
        tensor.copy_(before)
