"""Noise on training images."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from datamodules.errors import UserError
from datamodules.sample_randomness import check_rate, chosen_share, sample_generator
from datamodules.spoiled import Spoiling


@dataclass(frozen=True)
class InputNoise:
    """Adds Gaussian noise before the normalisation, clipped to [0, 1]; the same in every epoch.

    Args:
        std: in units of the full range of a pixel.
        rate: share of the samples.
    """

    std: float
    rate: float = 1.0

    def __post_init__(self) -> None:
        """Refuses rates that are none, and negative noise."""
        check_rate(self.rate)
        if not 0 <= self.std < float("inf"):
            raise UserError(f"Expected `std` to be at least 0 and finite, but got {self.std:g}.")

    def __call__(self, label: Tensor, index: Tensor, classes: int, seed: int = 0) -> Spoiling:
        """See `DataDamage`."""
        rows = chosen_share(index, self.rate, "noise", seed)
        facts = {"kind": "input_noise", "std": self.std, "rate": self.rate}
        change = partial(_noisy, std=self.std, seed=seed)
        return Spoiling(index[rows].sort().values, change=change, facts=facts)


def _noisy(image: Tensor, index: Tensor, std: float, seed: int) -> Tensor:
    """Every sample has its own stream, so that batches do not matter."""
    noise = [
        torch.randn(image.shape[1:], generator=sample_generator("pixels", seed, sample))
        for sample in index.tolist()
    ]
    return image + std * torch.stack(noise)
