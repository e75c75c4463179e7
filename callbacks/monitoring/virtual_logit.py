"""ViM: the part of a feature that training images do not have, weighed as one more logit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.monitoring.confidence import energy


def principal_dimension(features: int) -> int:
    """Size of the principal space, as in the paper: 1,000 of 2,048 and more, 512 of 768, else half.

    Args:
        features: D.
    """
    return 1000 if features >= 2048 else 512 if features >= 768 else features // 2


def linear_head(features: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Weight `(K, D)` and bias `(K,)` of the head, from what goes in and comes out.

    Exact wherever the features reach when the head is linear; the shortest where they do not.

    Args:
        features: `(N, D)`.
        logits: `(N, K)`.
    """
    ones = features.new_ones(len(features), 1, dtype=torch.float64)
    inputs = torch.cat([features.double(), ones], 1)
    solution = torch.linalg.pinv(inputs, rtol=1e-7) @ logits.double()
    return solution[:-1].T, solution[-1]


@dataclass(frozen=True)
class VirtualLogit:
    """ViM (Wang et al. 2203.10807, 2022).

    Args:
        origin: `(D,)`, where all logits are as the bias wants: -W⁺b.
        residual: `(D, D - d)`, the minor directions round the origin.
        alpha: mean largest logit over mean residual length, of the training images.
    """

    origin: Tensor
    residual: Tensor
    alpha: float

    @classmethod
    def fit(
        cls, features: Tensor, logits: Tensor, weight: Tensor, bias: Tensor, dimension: int | None
    ) -> "VirtualLogit":
        """Fits origin, directions and scale.

        Args:
            features: `(N, D)` of training images.
            logits: `(N, K)` of the same.
            weight: `(K, D)` of the head.
            bias: `(K,)` of the head.
            dimension: of the principal space; None: `principal_dimension`.
        """
        origin = -torch.linalg.pinv(weight.double()) @ bias.double()
        moved = features.double() - origin
        size = principal_dimension(features.shape[1]) if dimension is None else dimension
        vectors = torch.linalg.eigh(moved.T @ moved / len(moved)).eigenvectors
        residual = vectors[:, : features.shape[1] - size].contiguous()
        length = float((moved @ residual).norm(dim=1).mean())
        # Where training images have no residual at all no scale exists; then energy alone is left.
        alpha = float(logits.amax(1).double().mean()) / length if length > 1e-9 else 0.0
        return cls(origin, residual, alpha)

    def score(self, features: Tensor, logits: Tensor) -> Tensor:
        """Energy minus the virtual logit, `(N,)`."""
        length = ((features.double() - self.origin) @ self.residual).norm(dim=1)
        return energy(logits.double()) - self.alpha * length
