"""Scores of the logits alone: higher means more like the training data."""

from torch import Tensor


def msp(logits: Tensor) -> Tensor:
    """Maximum softmax probability, `(N,)` in [1/K, 1] (Hendrycks & Gimpel 1610.02136, 2017)."""
    return logits.softmax(1).amax(1)


def max_logit(logits: Tensor) -> Tensor:
    """Largest logit, `(N,)` (Hendrycks et al. 1911.11132, 2022)."""
    return logits.amax(1)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative free energy T·logsumexp(z/T), `(N,)`; equal logits of 0 give ln K.

    Liu et al. 2010.03759, 2020.

    Args:
        logits: `(N, K)`.
        temperature: > 0.
    """
    return temperature * (logits / temperature).logsumexp(1)
