"""Faithfulness correlation: do sets that a map calls important matter?"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.metrics.rank_correlation import pearson, spearman
from callbacks.interpretability.metrics.subsets import random_subsets, subset_drops
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class FaithfulnessCorrelation:
    """Correlation of a map's sums with drops over random sets (Bhatt et al. 2020, 2005.00631).

    One image's value has a standard error of about 1 / sqrt(draws).

    Args:
        draws: sets of patches; the usual 100.
        grid: patches along each side.
        share: of patches in a set.
        fill: what replaces them.
        kind: "pearson" (Bhatt, Quantus) or "spearman" (µFidelity).
    """

    draws: int = 100
    grid: int = 7
    share: float = 0.2
    fill: FillName = "mean"
    kind: Literal["pearson", "spearman"] = "pearson"
    higher_is_better: ClassVar[bool | None] = True
    backwards: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses a correlation of fewer than two sets."""
        at_least(2, draws=self.draws)

    @property
    def forwards(self) -> int:
        """One for each set and one undisturbed."""
        return self.draws + 1

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        found = random_subsets(
            model, image, target, saliency, draw, self.draws, self.grid, self.share, self.fill
        )
        return (pearson if self.kind == "pearson" else spearman)(*found)


@dataclass(frozen=True)
class SingleDeletion:
    """Rank correlation of a map's patch sums with each patch's own drop (SDS; 2407.11910, 2024).

    Comparable between models; the null's standard deviation is 1 / sqrt(grid² - 1).

    Args:
        grid: patches along each side.
        fill: what replaces a patch.
    """

    grid: int = 4
    fill: FillName = "black"
    higher_is_better: ClassVar[bool | None] = True
    backwards: int = field(default=0, init=False, repr=False)

    @property
    def forwards(self) -> int:
        """One for each patch and one undisturbed."""
        return self.grid**2 + 1

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        alone = torch.eye(self.grid**2, dtype=torch.bool, device=image.device)
        alone, fill = alone.expand(len(image), -1, -1), filled(self.fill, image, draw)
        return spearman(*subset_drops(model, image, target, saliency, alone, fill))
