"""Federated distillation: clients that keep their images, and tell each other only answers."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.partition import SplitName
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.soft_targets import soft_target_loss
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.tuning import Tuning

State = Mapping[str, Any]


@dataclass(frozen=True)
class FederatedRecipe:
    """How clients learn from each other's answers to public images.

    Args:
        method: fedmd (Li & Wang 2019, 1910.03581): each client fits the mean logits by their
            absolute difference, then goes back to its own images; feddf (Lin et al. 2020,
            2006.07242): each trains on its own, networks of one architecture are averaged, and
            the average fits the softmax of the mean logits.
        rounds: of communication; fedmd trains once on the private images before.
        private_steps: optimizer steps on its own images, a client and round.
        public_steps: optimizer steps on the public images, a client and round.
        temperature: of feddf's soft targets; 1 as published.
        split: of the private images: even, halves (of the classes, in turn) or dirichlet.
        alpha: of dirichlet; small values are less even.
        public_share: of the training images that are public, their labels unused, where no
            `public` data are named.
    """

    method: Literal["fedmd", "feddf"] = "feddf"
    rounds: int = 5
    private_steps: int = 50
    public_steps: int = 50
    temperature: float = 1.0
    split: SplitName = "halves"
    alpha: float = 0.5
    public_share: float = 0.5

    def __post_init__(self) -> None:
        """Refuses values that make no sense, and those of another choice."""
        for name in ("rounds", "private_steps", "public_steps"):
            if (value := getattr(self, name)) < 1:
                raise UserError(f"Expected `federated.{name}` of at least 1, but got {value}.")
        if not 0 < self.temperature < float("inf"):
            raise UserError(
                f"Expected `federated.temperature` above 0, but got {self.temperature}."
            )
        if self.method == "fedmd" and self.temperature != 1:
            raise UserError(
                "Got `federated.temperature`, but fedmd fits logits and has none: leave it out, or "
                "say --federated.method feddf."
            )
        if self.split != "dirichlet" and self.alpha != 0.5:
            raise UserError(
                f"Got `federated.alpha`, but the split {self.split!r} has none: leave it out, or "
                "say --federated.split dirichlet."
            )
        if not 0 < self.public_share < 1:
            raise UserError(
                f"Expected `federated.public_share` in (0, 1), but got {self.public_share}."
            )


class ConsensusFitting(FineTuning):
    """Fits a classifier to what all clients together say of public images, without any label.

    Args:
        classifier: trained in place.
        index: `(M,)` indices of the public images in ascending order.
        consensus: `(M, K)` mean logits of all clients.
        recipe: chooses the loss.
        tuning: optimizer and schedule.
    """

    def __init__(
        self,
        classifier: Classifier,
        index: Tensor,
        consensus: Tensor,
        recipe: FederatedRecipe,
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__(classifier, tuning)
        self.recipe = recipe
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("consensus", consensus, persistent=False)

    def batch_loss(self, batch: Batch) -> Tensor:
        """The loss `()` of a batch; its labels are not looked at."""
        rows = torch.searchsorted(self.index, batch.index)  # type: ignore[arg-type]
        target: Tensor = self.consensus[rows]  # type: ignore[index]
        logits = self(batch.image).float()
        if self.recipe.method == "fedmd":
            return F.l1_loss(logits, target)
        return soft_target_loss(logits, target, self.recipe.temperature)


def fused(states: Sequence[State], weights: Sequence[float]) -> dict[str, Any]:
    """The weighted mean of networks of one architecture (FedAvg: McMahan et al. 2017, 1602.05629).

    Args:
        states: of equal names and shapes; statistics of normalisation are averaged too.
        weights: of each, such as its number of images; divided by their sum.

    Returns:
        The mean; of what is no float, such as counters of batches and extra state, the first.
    """
    total = sum(weights)
    return {
        name: sum((w / total) * s[name] for w, s in zip(weights, states, strict=True))
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
        else copy.deepcopy(value)
        for name, value in states[0].items()
    }
