"""LEEP: how well the source model's own answers already tell the new classes apart."""

import torch
from torch import Tensor

from callbacks.transfer.labels import compact


def leep(probability: Tensor, label: Tensor) -> float:
    """Log expected empirical prediction (Nguyen et al. 2020, 2002.12462).

    Args:
        probability: `(N, S)` of the source classes, rows sum to one.
        label: `(N,)` target classes.

    Returns:
        Mean log-likelihood of the labels under `empirical_conditional`, <= 0; higher is better.
    """
    probability, label = probability.double(), compact(label)
    table = empirical_conditional(probability, label, int(label.max()) + 1)
    return float((probability @ table.T).gather(1, label[:, None]).log().mean())


def empirical_conditional(probability: Tensor, label: Tensor, classes: int) -> Tensor:
    """Reads source classes as target classes: p(target | source), estimated on labelled samples.

    Args:
        probability: `(N, S)` of the source classes.
        label: `(N,)` target classes.
        classes: K, of the target.

    Returns:
        `(K, S)` float64; columns sum to one, and are uniform where a source class never occurs.
    """
    probability = probability.double()
    joint = probability.new_zeros(classes, probability.shape[1])
    joint.index_add_(0, label, probability)
    mass = joint.sum(0)
    return torch.where(
        mass > 0, joint / mass.clamp_min(torch.finfo(torch.double).tiny), 1 / classes
    )
