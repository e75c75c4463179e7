"""Batch-norm statistics measured anew on unlabelled images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from datamodules.errors import UserError


class NotApplicableError(UserError):
    """There is nothing that this repair could change."""


@torch.no_grad()
def reestimate(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Resets running means and variances and averages them over all batches.

    Only the batch-norm modules are in training mode: the whole network in training mode would
    enable dropout too. Cumulative average (momentum unset), as in once-for-all (1908.09791, 2020).

    Args:
        model: changed in place; its modes are given back.
        batches: images `(n, C, H, W)`.

    Returns:
        How many images were used.

    Raises:
        NotApplicableError: the model has no batch norm.
    """
    norms = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        raise NotApplicableError("The model has no batch norm: there is nothing to re-estimate.")
    modes = [(part, part.training) for part in model.modules()]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True
    used = 0
    try:
        for image in batches:
            model(image)
            used += len(image)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for part, training in modes:
            part.training = training
    return used
