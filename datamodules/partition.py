"""Labelled images dealt out among clients, each of which sees other classes than the next."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.splits import stratified_order

SplitName = Literal["even", "halves", "dirichlet"]


def partition(
    label: Tensor, clients: int, split: SplitName, alpha: float = 0.5, seed: int = 0
) -> list[Tensor]:
    """Deals positions out among clients, each to one.

    Args:
        label: `(N,)` classes.
        clients: how many, at least 2.
        split: "even", every class in the same share; "halves", the clients in turn have the first
            and the second half of the classes; "dirichlet", of every class shares that are drawn
            from a symmetric Dirichlet distribution (Hsu et al. 2019, 1909.06335).
        alpha: of the Dirichlet distribution; small values are less even.
        seed: of the choice.

    Returns:
        Sorted positions of every client.

    Raises:
        UserError: a client would have nothing.
    """
    if clients < 2:
        raise UserError(f"Expected at least two `clients`, but got {clients}.")
    if not 0 < alpha < float("inf"):
        raise UserError(f"Expected `federated.alpha` above 0, but got {alpha}.")
    order = stratified_order(label, seed)
    classes = label.unique().tolist()
    shares = _SHARES[split](len(classes), clients, alpha, seed)
    parts: list[list[Tensor]] = [[] for _ in range(clients)]
    for own, share in zip(classes, shares, strict=True):
        rows = order[label[order] == own]
        ends = np.rint(share.cumsum() * len(rows)).astype(int)[:-1].tolist()
        for client, dealt in zip(parts, rows.tensor_split(ends), strict=True):
            client.append(dealt)
    dealt_out = [torch.cat(rows).sort().values for rows in parts]
    if empty := [str(i + 1) for i, rows in enumerate(dealt_out) if not len(rows)]:
        raise UserError(
            f"No image is left for client {', '.join(empty)} of {clients}: give more images, fewer "
            "clients, or a larger `federated.alpha`."
        )
    return dealt_out


def _even(classes: int, clients: int, alpha: float, seed: int) -> np.ndarray:
    return np.full((classes, clients), 1 / clients)


def _halves(classes: int, clients: int, alpha: float, seed: int) -> np.ndarray:
    """Even clients share the first half of the classes, odd ones the second."""
    second = np.arange(classes)[:, None] >= (classes + 1) // 2
    odd = np.arange(clients)[None] % 2 == 1
    mine = (second == odd).astype(float)
    return mine / mine.sum(1, keepdims=True)


def _dirichlet(classes: int, clients: int, alpha: float, seed: int) -> np.ndarray:
    # RandomState and not a Generator: numpy promises never to change what it draws.
    return np.random.RandomState(seed).dirichlet(np.full(clients, alpha), classes)


_SHARES = {"even": _even, "halves": _halves, "dirichlet": _dirichlet}
