"""Projected gradient ascent inside the ball, which drops images as soon as they are broken."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.found import Found
from callbacks.adversarial.losses import LossName, chosen_loss
from callbacks.adversarial.threat_models import ThreatModel
from datamodules.errors import UserError

if TYPE_CHECKING:
    from callbacks.queries import Queries
    from callbacks.randomness import Draw


@dataclass(frozen=True)
class PGD:
    """Steps along the gradient, projected onto the ball (Madry et al. 2018, 1706.06083).

    Any iterate that was adversarial counts, not only the last: the verdict comes from the forward
    that its gradient needs anyway, so N steps cost N forwards, N backwards and one more forward.

    Args:
        steps: of each restart.
        step_size: length of a step in pixel units; None takes `relative_step` · epsilon / steps.
        relative_step: how many radii all steps together could go. By default 2.5: the edge can be
            reached and followed. Foolbox 3.3.4 goes 1.33 (Linf, 40 steps) and 1.25 (L2, 50).
        random_start: begin at a random point of the ball instead of the image.
        restarts: repetitions from other random points, for images not yet broken.
        loss: "ce", "margin" or "dlr".
        returns: "best" (first adversarial iterate, else the one of highest loss) or "last", as
            Foolbox and torchattacks do: weaker, and no image can leave early.
    """

    steps: int = 40
    step_size: float | None = None
    relative_step: float = 2.5
    random_start: bool = True
    restarts: int = 1
    loss: LossName = "ce"
    returns: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing or the same thing twice."""
        chosen_loss(self.loss, None)
        if self.steps < 1 or self.restarts < 1:
            raise UserError(
                f"Expected `steps` and `restarts` of at least 1, got {self.steps}, {self.restarts}."
            )
        for name in ("step_size", "relative_step"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"Expected `{name}` to be a number above 0, but got {value}.")
        if self.restarts > 1 and not self.random_start:
            raise UserError(f"`restarts={self.restarts}` need `random_start=True`: all are alike.")
        if self.restarts > 1 and self.returns == "last":
            raise UserError(f"`restarts={self.restarts}` need `returns='best'`: the rest is lost.")

    @property
    def about(self) -> About:
        """Not for L1, whose steepest step moves one pixel."""
        return About("pgd", "PGD", ("linf", "l2"), forwards=self.restarts)

    @property
    def gradients(self) -> int:
        """Steps times restarts."""
        return self.steps * self.restarts

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
        """Searches the ball round every image; see `Attack`."""
        active = Active.all(image, label, target)
        if self.returns == "last":
            return self._last(model, self._started(active, threat, draw, 0), threat)
        found = Found(image, objective)
        for restart in range(self.restarts):
            wanted = active.select(found.wanted(active.rows)) if restart else active
            if len(wanted.rows):
                self._ascend(model, self._started(wanted, threat, draw, restart), threat, found)
        return found.result()

    def _ascend(self, model: "Queries", active: Active, threat: ThreatModel, found: Found) -> None:
        """Runs one restart; images that are no longer wanted leave on the way."""
        loss = chosen_loss(self.loss, active.aim)
        for step in range(1, self.steps + 1):
            logits, value, gradient = model.gradient(active.point, loss, *active.classes)
            found.see(active.rows, active.point, value, active.broken(logits), "steps")
            if active.looks(step) and not (wanted := found.wanted(active.rows)).all():
                active, gradient = active.select(wanted), gradient[wanted]
                if not len(active.rows):
                    return
            active = self._moved(active, gradient, threat)
            del gradient  # as large as the images: not to be held while the model is asked
        logits = model(active.point)
        value = loss(logits, *active.classes)
        found.see(active.rows, active.point, value, active.broken(logits), "forwards")

    def _last(self, model: "Queries", active: Active, threat: ThreatModel) -> AttackResult:
        """Takes every step with every image and returns where they end."""
        loss = chosen_loss(self.loss, active.aim)
        for _ in range(self.steps):
            gradient = model.gradient(active.point, loss, *active.classes)[2]
            active = self._moved(active, gradient, threat)
            del gradient
        steps = torch.full_like(active.rows, self.steps)
        return AttackResult(active.point, active.point, steps, 0 * steps)

    def _started(self, active: Active, threat: ThreatModel, draw: "Draw", restart: int) -> Active:
        if not self.random_start:
            return active
        start = threat.sample(active.origin, draw.select(active.rows), restart)
        return active._replace(point=start)

    def _moved(self, active: Active, gradient: Tensor, threat: ThreatModel) -> Active:
        length = self.step_size or self.relative_step * threat.epsilon / self.steps
        point = threat.ascent(gradient).mul_(length).add_(active.point)
        return active._replace(point=threat.project(point, active.origin))
