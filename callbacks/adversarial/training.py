"""Adversarial training: an attack in the form that fine-tuning takes to disturb its images."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from callbacks.adversarial.attack import Attack
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.threat_models import THREAT_MODELS, ThreatModel, radius
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.batch import Batch
from datamodules.errors import UserError


class AdversarialTraining:
    """Replaces training images by the worst ones an attack finds (Madry et al. 2018, 1706.06083).

    Args:
        epsilon: radius in pixel units, > 0, as a number or like `8/255`; None takes the data set's
            usual one.
        norm: "linf" or "l2".
        attack: how the ball is searched; None takes PGD with 7 steps.
        seed: of the random starts.
    """

    def __init__(
        self,
        epsilon: float | str | None = None,
        norm: Literal["linf", "l2"] = "linf",
        attack: Attack | None = None,
        seed: int = 0,
    ) -> None:
        self.norm, self.epsilon = norm, positive(epsilon, norm)
        self.attack = attack or PGD(steps=7)
        self.seed = seed
        self._batches = 0

    @property
    def threat(self) -> ThreatModel:
        """The ball."""
        assert self.epsilon is not None, "the pipeline fills it in"
        return THREAT_MODELS[self.norm](self.epsilon)

    def __repr__(self) -> str:
        """Names everything that decides what is trained on."""
        return f"AdversarialTraining({self.attack!r}, {self.norm} {self.epsilon}, seed={self.seed})"

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Attacks `(N, C, H, W)` images of the classifier as it is now."""
        # Training batches know no sample index: the batch number keeps starts from repeating.
        rows = torch.arange(len(image), device=image.device) + self._batches * len(image)
        self._batches += 1
        draw = Draw(self.seed, rows)
        queries = Queries(classifier)
        return self.attack(queries, image, label, self.threat, draw, objective="loss").worst


@dataclass(frozen=True)
class StillRight:
    """Which images of a batch a classifier gets right, also under attack.

    Args:
        threat: the ball.
        attack: how it is searched.
        seed: of the random starts, which are the same at every call.
    """

    threat: ThreatModel
    attack: Attack
    seed: int = 0

    def __call__(self, classifier: nn.Module, batch: Batch) -> Tensor:
        """`(N,)` bool of `(N, C, H, W)` images."""
        queries, draw = Queries(classifier), Draw(self.seed, batch.index)
        result = self.attack(queries, batch.image, batch.label, self.threat, draw)
        attacked = self.threat.project(result.image, batch.image)
        answers = (queries(batch.image), queries(attacked))
        return torch.stack([logits.argmax(1) == batch.label for logits in answers]).all(0)


def positive(epsilon: float | str | None, norm: str) -> float | None:
    """A radius to train with; None stays, to be filled in when the data are known.

    Raises:
        UserError: it is no number above 0.
    """
    length = None if epsilon is None else radius(epsilon, norm, "epsilon")
    if length is not None and not length > 0:
        raise UserError(f"Expected `epsilon` to be positive, but got {epsilon}.")
    return length
