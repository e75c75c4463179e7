"""Projected gradient descent, dropping images as soon as they are broken."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from callbacks.adversarial.attack import AttackResult, Objective
from callbacks.adversarial.found import Found, adversarial
from callbacks.adversarial.losses import LossName, chosen_loss
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class PGD:
    """Steps along the gradient, projected onto the ball (Madry et al. 2018, 1706.06083).

    Any iterate that was adversarial counts, not only the last: the verdict comes from the forward
    that its gradient needs anyway, so N steps cost N forwards, N backwards and one more forward.

    Args:
        steps: of each restart.
        step_size: absolute length of a step; None takes `relative_step` · epsilon / steps.
        relative_step: see there.
        random_start: begin at a random point of the ball instead of the image.
        restarts: repetitions from other random points, for images not yet broken.
        loss: "ce", "margin" or "dlr".
        returns: "best" (first adversarial iterate, else the one of highest loss) or "last", as
            Foolbox and torchattacks do.
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
        if self.steps < 1 or self.restarts < 1:
            raise UserError(
                f"Expected `steps` and `restarts` of at least 1, got {self.steps}, {self.restarts}."
            )
        if self.restarts > 1 and not self.random_start:
            raise UserError(f"`restarts={self.restarts}` need `random_start=True`: all are alike.")

    @property
    def gradients(self) -> int:
        """Steps times restarts."""
        return self.steps * self.restarts

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
        found = Found(image, objective)
        for restart in range(self.restarts):
            todo = torch.arange(len(image), device=image.device)
            if self._drops(objective):
                todo = todo[~found.broken]
            if len(todo):
                self._ascend(model, image, label, threat, draw, target, found, todo, restart)
        return found.result()

    def _ascend(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: Draw,
        target: Tensor | None,
        found: Found,
        rows: Tensor,
        restart: int,
    ) -> None:
        """Runs one restart on the samples `rows`, which grow fewer where images may leave."""
        loss = chosen_loss(self.loss, target)
        length = self.step_size or self.relative_step * threat.epsilon / self.steps
        per_sample = [label[rows]] if target is None else [label[rows], target[rows]]
        origin = image[rows]
        point = origin
        if self.random_start:
            point = threat.sample(origin, draw.select(rows), restart)
        for _ in range(self.steps):
            logits, value, gradient = model.gradient(point, loss, *per_sample)
            found.steps[rows] += 1
            broken = adversarial(
                logits, per_sample[0], per_sample[1] if target is not None else None
            )
            if self.returns == "best":
                found.see(rows, point, value, broken)
                if self._drops(found.objective) and bool(broken.any()):
                    kept = (~broken).nonzero().squeeze(1)
                    rows, origin, point, gradient = (
                        tensor[kept] for tensor in (rows, origin, point, gradient)
                    )
                    per_sample = [tensor[kept] for tensor in per_sample]
            if not len(rows):
                return
            point = threat.project(point + length * threat.ascent(gradient), origin)
        self._finish(model, point, per_sample, target is not None, found, rows)

    def _finish(
        self,
        model: Queries,
        point: Tensor,
        per_sample: list[Tensor],
        targeted: bool,
        found: Found,
        rows: Tensor,
    ) -> None:
        """Looks at the last iterate, which no gradient was taken at."""
        if self.returns == "last":
            found.image[rows] = point
            found.worst[rows] = point
            return
        logits = model(point)
        found.forwards[rows] += 1
        target = per_sample[1] if targeted else None
        value = chosen_loss(self.loss, target)(logits, *per_sample)
        found.see(rows, point, value, adversarial(logits, per_sample[0], target))

    def _drops(self, objective: Objective) -> bool:
        """Whether broken images leave."""
        return objective == "verdict" and self.returns == "best"
