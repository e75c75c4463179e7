"""Seeded, stratified choices of samples."""

from math import ceil

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import UserError


def stratified_order(label: Tensor, seed: int) -> Tensor:
    """Orders positions at random so that every beginning holds each class about in its share.

    The j-th of a class of n samples stands at (j + 1/2) / n (systematic sampling), hence a longer
    beginning holds every shorter one, and no class is too small.

    Args:
        label: `(N,)` classes.
        seed: of the order.

    Returns:
        `(N,)` positions.
    """
    # RandomState and not a Generator: numpy promises never to change what it draws.
    shuffled = np.random.RandomState(seed).permutation(len(label))
    classes = label.numpy()[shuffled]
    counts = np.bincount(classes)
    grouped = np.argsort(classes, kind="stable")
    first = np.cumsum(counts) - counts
    place = np.empty(len(label))
    place[grouped] = np.arange(len(label)) - first[classes[grouped]]
    order = np.argsort((place + 0.5) / counts[classes], kind="stable")
    return torch.from_numpy(shuffled[order])


def stratified_split(label: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Splits positions so that each class keeps its share.

    Args:
        label: `(N,)` classes.
        fraction: of the second part, in (0, 1); it gets at least as many samples as classes.
        seed: of the choice.

    Returns:
        Sorted positions of the first and of the second part.

    Raises:
        UserError: nothing would be left for the first part.
    """
    n, classes = len(label), len(label.unique())
    second = max(ceil(n * fraction), classes)
    if second >= n:
        raise UserError(
            f"Expected more than {second} images of {classes} classes to split {fraction:.0%} off, "
            f"but got {n}: give more images, or a folder for each of train, val and test."
        )
    order = stratified_order(label, seed)
    return order[second:].sort().values, order[:second].sort().values


def limited(label: Tensor, limit: int | None, seed: int) -> Tensor:
    """Chooses `limit` positions at random, stratified; a larger limit keeps a smaller one's.

    Args:
        label: `(N,)` classes.
        limit: how many; None or at least N keeps all.
        seed: of the choice.

    Returns:
        Sorted positions.
    """
    return stratified_order(label, seed)[:limit].sort().values
