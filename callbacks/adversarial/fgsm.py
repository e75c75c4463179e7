"""The fast gradient method: one step to the edge of the ball."""

from dataclasses import dataclass

from torch import Tensor

from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.losses import LossName, chosen_loss
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class FGSM:
    """One step of length epsilon along the gradient (Goodfellow et al. 2015, 1412.6572).

    Along its sign for Linf, along itself for L2. Exact where the model is linear; elsewhere so weak
    that its failure proves nothing.

    Args:
        loss: "ce", "margin" or "dlr".
    """

    loss: LossName = "ce"

    def __post_init__(self) -> None:
        """Refuses the name of no loss."""
        chosen_loss(self.loss, None)

    @property
    def about(self) -> About:
        """Not for L1, whose steepest step moves one pixel."""
        return About("fgsm", "FGSM", ("linf", "l2"), forwards=0)

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
        moved = threat.project(step, image)
        ones = label.new_ones(len(label))
        return AttackResult(moved, moved, ones, 0 * ones)
