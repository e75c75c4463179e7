"""One step from a random point: the attack that fast adversarial training is made of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.losses import chosen_loss
from callbacks.adversarial.threat_models import ThreatModel
from datamodules.errors import UserError

if TYPE_CHECKING:
    from callbacks.queries import Queries
    from callbacks.randomness import Draw


@dataclass(frozen=True)
class RandomStartFGSM:
    """A step along the sign of the gradient from a random point (Wong et al. 2020, 2001.03994).

    The point is drawn from the L∞ ball and *not* cut to [0, 1] before the gradient is taken there,
    as the authors' code has it: on images with much black, such as MNIST, half of all starts would
    stand at the edge and half of all steps end in one corner, which a network learns to expect
    (catastrophic overfitting).

    Args:
        relative_step: length of the step in radii; 1.25 as published, more overfits.
    """

    relative_step: float = 1.25

    def __post_init__(self) -> None:
        """Refuses a step of no length."""
        if not 0 < self.relative_step < float("inf"):
            raise UserError(
                f"Expected `relative_step` to be a number above 0, but got {self.relative_step}."
            )

    @property
    def about(self) -> About:
        """Of the L∞ ball alone."""
        return About("fgsm_rs", "FGSM from a random start", ("linf",), forwards=0)

    @property
    def gradients(self) -> int:
        """One."""
        return 1

    def __call__(
        self,
        model: "Queries",
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: "Draw",
        *,
        target: Tensor | None = None,
        objective: Objective = "verdict",
    ) -> AttackResult:
        """Takes the step with every image; see `Attack`."""
        offset = 2 * draw.uniform("start", 0, tuple(image.shape[1:])) - 1
        point = image + threat.epsilon * offset
        classes = (label,) if target is None else (label, target)
        gradient = model.gradient(point, chosen_loss("ce", target), *classes)[2]
        point = point + self.relative_step * threat.epsilon * threat.ascent(gradient)
        found = threat.project(point, image)
        return AttackResult(found, found, torch.ones_like(label), torch.zeros_like(label))
