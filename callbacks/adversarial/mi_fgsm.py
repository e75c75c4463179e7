"""The momentum iterative fast gradient method."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.found import Found
from callbacks.adversarial.losses import LossName, chosen_loss
from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class MIFGSM:
    """Steps along a decaying sum of gradients, which transfers well (Dong et al. 2018, 1710.06081).

    Starts at the image; all steps together reach the edge of the ball once.

    Args:
        steps: of length epsilon / steps.
        decay: what each step keeps of the sum, mu.
        loss: "ce", "margin" or "dlr".
    """

    steps: int = 10
    decay: float = 1.0
    loss: LossName = "ce"

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        chosen_loss(self.loss, None)
        if self.steps < 1 or self.decay < 0:
            raise UserError(
                f"Expected `steps` of at least 1 and `decay` of at least 0, got {self.steps} and "
                f"{self.decay}."
            )

    @property
    def about(self) -> About:
        """Not for L1, whose steepest step moves one pixel."""
        return About("mifgsm", "MI-FGSM", ("linf", "l2"))

    @property
    def gradients(self) -> int:
        """One a step."""
        return self.steps

    def __call__(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: Draw,
        *,
        target: Tensor | None = None,
        objective: Objective = "verdict",
    ) -> AttackResult:
        """Searches the ball round every image; see `Attack`."""
        found, active = Found(image, objective), Active.all(image, label, target)
        loss, total = chosen_loss(self.loss, target), torch.zeros_like(image)
        for step in range(1, self.steps + 1):
            logits, value, gradient = model.gradient(active.point, loss, *active.classes)
            found.see(active.rows, active.point, value, active.broken(logits), "steps")
            total = self.decay * total + _unit(gradient)
            if active.looks(step) and not (wanted := found.wanted(active.rows)).all():
                active, total = active.select(wanted), total[wanted]
                if not len(active.rows):
                    return found.result()
            point = active.point + threat.epsilon / self.steps * threat.ascent(total)
            active = active._replace(point=threat.project(point, active.origin))
        logits = model(active.point)
        value = loss(logits, *active.classes)
        found.see(active.rows, active.point, value, active.broken(logits), "forwards")
        return found.result()


def _unit(gradient: Tensor) -> Tensor:
    """Gradients of L1 length 1, however small they are."""
    gradient = gradient.nan_to_num(0.0)
    largest = gradient.abs().flatten(1).amax(1).clamp_min(torch.finfo(gradient.dtype).tiny)
    gradient = gradient / beside(largest)
    return gradient / beside(gradient.abs().flatten(1).sum(1).clamp_min(1))
