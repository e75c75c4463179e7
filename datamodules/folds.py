"""Probabilities for samples from models that were fitted without them (cross-validation)."""

from collections.abc import Callable

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.splits import stratified_order

Predict = Callable[[Tensor], Tensor]
"""From rows `(n,)` to probabilities `(n, K)`."""


def folds(label: Tensor, count: int = 5, seed: int = 0) -> list[Tensor]:
    """Splits rows into parts that hold every class about in its share.

    Args:
        label: `(N,)`.
        count: of the parts.
        seed: of the choice.

    Returns:
        Sorted rows of each part; together every row once.

    Raises:
        UserError: fewer than two parts, or more than samples.
    """
    if not 2 <= count <= len(label):
        raise UserError(f"Expected `count` of folds from 2 to {len(label)}, but got {count}.")
    order = stratified_order(label, seed)
    return [order[part::count].sort().values for part in range(count)]


def out_of_sample(
    fit: Callable[[Tensor], Predict], label: Tensor, count: int = 5, seed: int = 0
) -> Tensor:
    """Asks about every sample a model that was fitted without it.

    Args:
        fit: from rows to learn from to a model.
        label: `(N,)`, to stratify by.
        count: of the folds, each a fit.
        seed: of the folds.

    Returns:
        `(N, K)` probabilities, for `suspects`.
    """
    parts = folds(label, count, seed)
    probabilities = []
    for held_out in parts:
        training = torch.ones(len(label), dtype=torch.bool).index_fill(0, held_out, False)
        probabilities.append(fit(training.nonzero()[:, 0])(held_out))
    original_order = torch.cat(parts).argsort()
    return torch.cat(probabilities)[original_order]
