"""Random numbers that belong to a sample: the same whatever the order, the batch or the split."""

import hashlib

import torch
from torch import Tensor

from datamodules.errors import UserError


def sample_generator(purpose: str, seed: int, index: int = -1) -> torch.Generator:
    """A generator of its own for every purpose and seed, and sample where one is given."""
    digest = hashlib.sha256(f"{purpose} {seed} {index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def sample_uniform(index: Tensor, purpose: str, seed: int) -> Tensor:
    """Draws one number in [0, 1) a sample.

    Args:
        index: `(N,)` of the samples, from 0.
        purpose: what is drawn.
        seed: of the draw.

    Returns:
        `(N,)` float64.
    """
    if not len(index):
        return torch.empty(0, dtype=torch.float64)
    count = int(index.max()) + 1
    # A stream is drawn from its beginning, so a sample's number does not depend on later ones.
    numbers = torch.rand(count, generator=sample_generator(purpose, seed), dtype=torch.float64)
    return numbers[index]


def chosen_share(index: Tensor, rate: float, purpose: str, seed: int) -> Tensor:
    """Chooses exactly `round(rate * N)` samples; a larger rate keeps a smaller one's.

    Args:
        index: `(N,)` of the samples.
        rate: share, in [0, 1].
        purpose: what they are chosen for.
        seed: of the choice.

    Returns:
        `(n,)` rows, ascending.
    """
    order = sample_uniform(index, purpose, seed).argsort(stable=True)
    return order[: round(rate * len(index))].sort().values


def check_rate(rate: float, below: bool = False) -> None:
    """Refuses a rate outside [0, 1], or [0, 1) where something must be left."""
    if not 0 <= rate <= 1 or (below and rate == 1):
        bracket = ")" if below else "]"
        raise UserError(f"Expected `rate` to be a share in [0, 1{bracket}, but got {rate:g}.")
