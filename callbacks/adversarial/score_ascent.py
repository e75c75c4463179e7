"""Ascent along gradients that are estimated from scores, for models that only answer."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import AttackResult, Objective
from callbacks.adversarial.directions import Directions, groups
from callbacks.adversarial.found import Found
from callbacks.adversarial.losses import Loss, LossName, chosen_loss
from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

Memory = tuple[Tensor, ...]
"""What a rule keeps of earlier estimates, a row an image."""
Rule = Callable[[Memory, Tensor, int, ThreatModel], tuple[Tensor, Memory]]
"""`(memory, estimate, number of the step from 1, ball) -> step of about length 1, memory`.

The memory is () before the first step.
"""


def estimated_gradient(
    model: Queries,
    active: Active,
    loss: Loss,
    draw: Draw,
    directions: Directions,
    *,
    first: int,
    pairs: int,
    width: float,
) -> Tensor:
    """Estimates the gradient of a loss from mirrored differences along random directions.

    The mean over directions v of (f(x + width·v) - f(x - width·v)) / (2·width) · v, whose
    expectation is the gradient of a linear f. The model is only asked about images: what leaves
    the box is clipped, so that a pixel at its edge, with one way to go, shows half its slope.

    Args:
        model: the classifier, asked 2·`pairs` times an image.
        active: `n` images at `point`.
        loss: per sample.
        draw: of these images.
        directions: of unit variance.
        first: number of the first direction.
        pairs: directions.
        width: of the difference, in pixel units.

    Returns:
        `(n, C, H, W)`.
    """
    total, shape = torch.zeros_like(active.point), tuple(active.point.shape[1:])
    most = (model.chunk or len(total)) // 2
    for group in groups(directions, draw, shape, first, pairs, most):
        point, change = active.point[:, None], width * group.direction
        both = torch.stack([point + change, point - change], 1).clamp_(0, 1)
        logits = model(both.flatten(0, 2)).unflatten(0, (len(total), 2, group.size))
        for number in range(group.size):  # one by one: sums are rounded alike in any group
            up, down = (loss(logits[:, side, number], *active.classes) for side in (0, 1))
            slope = (up - down).nan_to_num(0.0, 0.0, 0.0)
            total += beside(slope) * group.direction[:, number]
    return total / (2 * width * pairs)


@dataclass(frozen=True)
class ScoreAscent:
    """What attacks by estimated gradients have in common.

    Args:
        steps: of the ascent.
        samples: forwards that an estimate takes, half of them mirrored.
        width: of the differences, in pixel units.
        loss: that is raised.
        directions: of unit variance.
        rule: makes a step of the estimates.
        step_size: see `step_length`.
        random_start: begin at a random point of the ball instead of the image.
    """

    steps: int
    samples: int
    width: float
    loss: LossName
    directions: Directions
    rule: Rule
    step_size: float | None
    random_start: bool

    def __post_init__(self) -> None:
        """Refuses values that would estimate or attack nothing."""
        chosen_loss(self.loss, None)
        if self.steps < 1:
            raise UserError(f"Expected `steps` of at least 1, but got {self.steps}.")
        if self.samples < 2 or self.samples % 2:
            raise UserError(
                f"Expected `samples` to be an even number from 2 up, because half are mirrored, "
                f"but got {self.samples}."
            )
        for name in ("width", "step_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UserError(f"Expected `{name}` to be a number above 0, but got {value}.")

    @property
    def forwards(self) -> int:
        """That an image costs at most: the start, then an estimate and the point it leads to."""
        return 1 + self.steps * (self.samples + 1)

    def __call__(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        threat: ThreatModel,
        draw: Draw,
        target: Tensor | None,
        objective: Objective,
    ) -> AttackResult:
        """Climbs inside the ball; images that are no longer wanted leave on the way."""
        found, active = Found(image, objective), Active.all(image, label, target)
        if not len(image):
            return found.result()
        if self.random_start:
            active = active._replace(point=threat.sample(image, draw, 0))
        self._see(model, active, found)
        memory: Memory = ()
        for step in range(1, self.steps + 1):
            if not (wanted := found.wanted(active.rows)).all():  # a wait beside many forwards
                active, memory = active.select(wanted), tuple(part[wanted] for part in memory)
            if not len(active.rows):
                break
            estimate = self._estimate(model, active, draw, step, found)
            move, memory = self.rule(memory, estimate, step, threat)
            point = active.point + step_length(self.step_size, threat, self.steps) * move
            active = active._replace(point=threat.project(point, active.origin))
            self._see(model, active, found)
        return found.result()

    def _estimate(
        self, model: Queries, active: Active, draw: Draw, step: int, found: Found
    ) -> Tensor:
        pairs, loss = self.samples // 2, chosen_loss(self.loss, active.aim)
        found.pay(active.rows, "forwards", self.samples)
        own = draw.select(active.rows)
        first = (step - 1) * pairs
        return estimated_gradient(
            model, active, loss, own, self.directions, first=first, pairs=pairs, width=self.width
        )

    def _see(self, model: Queries, active: Active, found: Found) -> None:
        logits = model(active.point)
        value = chosen_loss(self.loss, active.aim)(logits, *active.classes)
        found.see(active.rows, active.point, value, active.broken(logits), "forwards")


def step_length(given: float | None, threat: ThreatModel, steps: int) -> float:
    """The length of a step: as given, else 0.01 of the range of a pixel, as published for L∞.

    An L2 step that changed every pixel by that would leave the ball at once: there it is a tenth
    of the radius. Where so few steps could not cross the ball, 2.5 radii over all of them.

    >>> from callbacks.adversarial.threat_models import Linf
    >>> step_length(None, Linf(0.1), 100), step_length(None, Linf(0.1), 10)
    (0.01, 0.025)
    """
    if given is not None:
        return given
    usual = 0.01 if threat.norm == "linf" else threat.epsilon / 10
    return max(usual, 2.5 * threat.epsilon / steps)


class EstimatedAscent(ABC):
    """An attack that is a `ScoreAscent` with settings of its own."""

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        self._ascent  # noqa: B018  # refuses them

    @property
    @abstractmethod
    def _ascent(self) -> ScoreAscent:
        """The search with the attack's settings."""

    @property
    def gradients(self) -> int:
        """None."""
        return 0

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
        return self._ascent(model, image, label, threat, draw, target, objective)
