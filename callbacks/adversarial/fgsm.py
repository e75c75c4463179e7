"""The fast gradient sign method."""

from dataclasses import dataclass

from torch import Tensor

from callbacks.adversarial.attack import AttackResult, Objective
from callbacks.adversarial.losses import LossName, chosen_loss
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class FGSM:
    """One step of length epsilon along the gradient (Goodfellow et al. 2015, 1412.6572).

    Args:
        loss: "ce", "margin" or "dlr".
    """

    loss: LossName = "ce"

    @property
    def gradients(self) -> int:
        """One."""
        return 1

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
        """Attacks `(N, C, H, W)` images; see `Attack`."""
        classes = (label,) if target is None else (label, target)
        _, _, gradient = model.gradient(image, chosen_loss(self.loss, target), *classes)
        step = image + threat.epsilon * threat.ascent(gradient)
        found = threat.project(step, image)
        one = label.new_ones(len(label))
        return AttackResult(found, found, one, 0 * one)
