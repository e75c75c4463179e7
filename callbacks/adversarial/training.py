"""Adversarial training: an attack in the form that fine-tuning takes to disturb its images."""

from typing import Literal

import torch
from torch import Tensor, nn

from callbacks.adversarial.attack import Attack
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.threat_models import L2, Linf, radius
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


class AdversarialTraining:
    """Replaces training images by the worst ones an attack finds (Madry et al. 2018, 1706.06083).

    Args:
        epsilon: radius in pixel units, > 0, as a number or like `8/255`.
        norm: "linf" or "l2".
        attack: how the ball is searched; None takes PGD with 7 steps.
        seed: of the random starts.
    """

    def __init__(
        self,
        epsilon: float | str,
        norm: Literal["linf", "l2"] = "linf",
        attack: Attack | None = None,
        seed: int = 0,
    ) -> None:
        length = radius(epsilon, norm, "epsilon")
        if not length > 0:
            raise UserError(f"Expected `epsilon` to be positive, but got {epsilon}.")
        self.threat = {"linf": Linf, "l2": L2}[norm](length)
        self.attack = attack or PGD(steps=7)
        self.seed = seed
        self._batches = 0

    def __repr__(self) -> str:
        """Names everything that decides what is trained on."""
        return f"AdversarialTraining({self.attack!r}, {self.threat!r}, seed={self.seed})"

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Attacks `(N, C, H, W)` images of the classifier as it is now."""
        # Training batches know no sample index: the batch number keeps starts from repeating.
        rows = torch.arange(len(image), device=image.device) + self._batches * len(image)
        self._batches += 1
        draw = Draw(self.seed, rows)
        queries = Queries(classifier)
        return self.attack(queries, image, label, self.threat, draw, objective="loss").worst
