"""Auto-PGD: gradient ascent with momentum that chooses its own step lengths."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.apgd_rules import Ascent, rule_of
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.expectation import Averaged
from callbacks.adversarial.found import Found, Spent
from callbacks.adversarial.losses import LossName, chosen_loss, likeliest_others
from callbacks.adversarial.threat_models import L1, ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class APGD:
    """Auto-PGD on one loss, without a step length to choose (Croce & Hein 2020, 2003.01690).

    In an L1 ball the sparse variant with its shrinking radius (Croce & Hein 2021, 2103.01208): 30 %
    of the steps in a ball of 3 epsilon, 30 % in one of 2 epsilon, the rest in the ball itself.

    Args:
        steps: of each restart.
        restarts: repetitions from other random points, for images not yet broken.
        loss: "ce", "margin" or "dlr".
        eot: evaluations averaged at every point, for models that answer at random
            (expectation over transformation: Athalye et al. 2018, 1707.07397).
    """

    steps: int = 100
    restarts: int = 1
    loss: LossName = "ce"
    eot: int = 1

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        chosen_loss(self.loss, None)
        for name in ("steps", "restarts", "eot"):
            if (given := getattr(self, name)) < 1:
                raise UserError(f"Expected `{name}` of at least 1, but got {given}.")

    @property
    def about(self) -> About:
        """Named after the loss."""
        name = f"APGD-{self.loss.upper()}"
        return About(name.lower().replace("-", "_"), name, forwards=3 * self.restarts * self.eot)

    @property
    def gradients(self) -> int:
        """Steps times restarts times repetitions."""
        return self.steps * self.restarts * self.eot

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
        active, found = Active.all(image, label, target), Found(image, objective)
        for restart in range(self.restarts):
            wanted = active.select(found.wanted(active.rows)) if restart else active
            self.search(model, wanted, threat, draw, restart, found)
        return found.result()

    def search(
        self,
        model: Queries,
        active: Active,
        threat: ThreatModel,
        draw: Draw,
        number: int,
        found: Found,
    ) -> None:
        """Runs one restart; images that are no longer wanted leave on the way.

        Args:
            model: the classifier, whose calls are counted.
            active: what is attacked, from `origin`.
            threat: the ball.
            draw: of all images of the attack.
            number: of the restart.
            found: takes note of every point of the ball.
        """
        if not len(active.rows):
            return
        noise = _noise(threat, active.origin, draw.select(active.rows), number, self.loss)
        for ball, steps in _phases(threat, self.steps):
            start = ball.project(active.origin + noise, active.origin)
            active = active._replace(point=start)
            best = self._ascend(model, active, ball, steps, found, counts=ball == threat)
            noise = best - active.origin if ball != threat else noise

    def _ascend(
        self,
        model: Queries,
        active: Active,
        ball: ThreatModel,
        steps: int,
        found: Found,
        counts: bool,
    ) -> Tensor:
        """Climbs inside one ball and returns the points of highest loss of those still active."""
        loss, gradient = self._seen(model, active, found, counts)
        ascent, rule = Ascent.begin(active, loss, gradient, ball), rule_of(ball, steps)
        for step in range(1, steps + 1):
            rows = ascent.active.rows
            if ascent.active.looks(step) and not (wanted := found.wanted(rows)).all():
                ascent = ascent.select(wanted)
                if not len(ascent.active.rows):
                    break
            ascent = rule.moved(ascent, ball, first=step == 1)
            last = step == steps
            loss, gradient = self._seen(model, ascent.active, found, counts, last)
            ascent = rule.checked(ascent.noted(loss, gradient), step)
        return ascent.best

    def _seen(
        self, model: Queries, active: Active, found: Found, counts: bool, last: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Loss `(n,)` and its gradient where images are; the last point needs no gradient."""
        function, asked = chosen_loss(self.loss, active.aim), Averaged(model, self.eot)
        if last:
            logits = asked(active.point)
            loss, gradient = function(logits, *active.classes), torch.zeros_like(active.point)
        else:
            logits, loss, gradient = asked.gradient(active.point, function, *active.classes)
        spent: Spent = "forwards" if last else "steps"
        if counts:
            broken = active.broken(logits)
            found.see(active.rows, active.point, loss, broken, spent, self.eot)
        else:  # outside the ball
            found.pay(active.rows, spent, self.eot)
        return loss, gradient


@dataclass(frozen=True)
class TargetedAPGD:
    """Auto-PGD towards the likeliest other classes in turn (Croce & Hein 2020, 2003.01690).

    Any wrong answer counts. With fewer classes than targets every other class is one.

    Args:
        steps: towards each class.
        targets: how many classes.
        restarts: repetitions from other random points, for images not yet broken.
        loss: "dlr", "ce" or "margin", in its targeted form.
        eot: see `APGD`.
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    loss: LossName = "dlr"
    eot: int = 1

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.targets < 1:
            raise UserError(f"Expected `targets` of at least 1, but got {self.targets}.")
        self._single  # noqa: B018  # refuses the rest

    @property
    def about(self) -> About:
        """`apgd_t`; it chooses its classes itself."""
        forwards = 1 + self.targets * self._single.about.forwards
        return About("apgd_t", "APGD-T", targeted=False, forwards=forwards)

    @property
    def gradients(self) -> int:
        """Those of all targets."""
        return self.targets * self._single.gradients

    def fitted(self, classes: int, deterministic: bool) -> tuple["TargetedAPGD", str]:
        """Itself, with what it does of its own accord for a model with few classes."""
        notes = []
        if classes < 4 and self.loss == "dlr":
            notes.append(
                f"The targeted DLR loss needs 4 classes: with {classes} it follows logits."
            )
        if classes <= self.targets:
            notes.append(f"APGD-T moves towards {classes - 1} other classes, all that there are.")
        return self, " ".join(notes)

    @property
    def _single(self) -> APGD:
        return APGD(self.steps, self.restarts, self.loss, self.eot)

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
        found, single = Found(image, objective), self._single
        everyone = Active.all(image, label)
        aims = likeliest_others(model(image), label, self.targets)
        found.pay(everyone.rows, "forwards")
        for rank in range(aims.shape[1]):
            for restart in range(self.restarts):
                active = everyone._replace(classes=(label, aims[:, rank]))
                wanted = active.select(found.wanted(active.rows))
                number = rank * self.restarts + restart
                single.search(model, wanted, threat, draw, number, found)
        return found.result()


def _phases(threat: ThreatModel, steps: int) -> Iterator[tuple[ThreatModel, int]]:
    """Yields balls with the steps to be taken in each; the last ball is the threat model."""
    if isinstance(threat, L1) and (early := math.ceil(0.3 * steps)) * 2 < steps:
        yield replace(threat, epsilon=3 * threat.epsilon), early
        yield replace(threat, epsilon=2 * threat.epsilon), early
        steps -= 2 * early
    yield threat, steps


def _noise(threat: ThreatModel, origin: Tensor, draw: Draw, number: int, loss: str) -> Tensor:
    """A random change; for Linf and L2 exactly as long as the radius, hence not inside the ball."""
    shape, purpose = tuple(origin.shape[1:]), f"apgd {loss}"
    if threat.norm == "linf":
        noise = draw.uniform(purpose, number, shape) * 2 - 1
        return noise * beside(threat.epsilon / noise.abs().flatten(1).amax(1))
    noise = draw.normal(purpose, number, shape)
    return threat.ascent(noise) * threat.epsilon if threat.norm == "l2" else noise
