"""Seeded, stratified choices of samples."""

import torch
from sklearn.model_selection import StratifiedShuffleSplit, train_test_split
from torch import Tensor


def stratified_split(label: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits positions so that each class keeps its share.

    Args:
        label: `(N,)` classes, each at least twice.
        fraction: of the second part, in (0, 1).
        seed: of the choice.

    Returns:
        Sorted positions of the first and of the second part.
    """
    split = StratifiedShuffleSplit(1, test_size=fraction, random_state=seed)
    first, second = next(split.split(label.numpy(), label.numpy()))
    return torch.as_tensor(first).sort().values, torch.as_tensor(second).sort().values


def limited(label: Tensor, limit: int | None, seed: int) -> Tensor:
    """Chooses `limit` positions at random, stratified where every class can have one.

    Args:
        label: `(N,)` classes.
        limit: how many; None or at least N keeps all.
        seed: of the choice.

    Returns:
        Sorted positions.
    """
    n = len(label)
    if limit is None or limit >= n:
        return torch.arange(n)
    counts = label.bincount()
    classes = int((counts > 0).sum())
    # scikit-learn stratifies only where either side can hold every class.
    fits = classes <= min(limit, n - limit) and int(counts[counts > 0].min()) > 1
    chosen, _ = train_test_split(
        torch.arange(n).numpy(),
        train_size=limit,
        random_state=seed,
        stratify=label.numpy() if fits else None,
    )
    return torch.as_tensor(chosen).sort().values
