"""Fast adaptive boundary: the nearest point across the boundary, then whether it is in the ball."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.found import Found, Spent
from callbacks.adversarial.losses import likeliest_others, logit_difference, margin
from callbacks.adversarial.projections import onto_hyperplane
from callbacks.adversarial.threat_models import ThreatModel, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_MOST = 0.1  # alpha_max: the largest share of the step from the original image
_OVERSHOOT = 1.05  # eta
_BACK = 0.9  # beta: an adversarial point is drawn back to this share of its change
_SMALLEST = 1e-8  # length of a change that counts as one
_ORDER = {"linf": torch.inf, "l2": 2, "l1": 1}
_DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}  # the norm of a gradient that distances go by


@dataclass(frozen=True)
class FAB:
    """Steps to the nearest linearised boundary of all classes (Croce & Hein 2020, 1907.02044).

    Looks for the least change that errs; the ball only decides whether that is small enough.

    Args:
        steps: of each restart.
        restarts: further ones begin half a radius off the image.
    """

    steps: int = 100
    restarts: int = 1

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.steps < 1 or self.restarts < 1:
            raise UserError(
                f"Expected `steps` and `restarts` of at least 1, got {self.steps}, {self.restarts}."
            )

    @property
    def about(self) -> About:
        """It goes to whichever class is nearest."""
        return About("fab", "FAB", targeted=False, climbs=False, forwards=self.gradients)

    @property
    def gradients(self) -> int:
        """Steps times restarts; a step takes a backward for every other class."""
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
        """Searches the ball round every image; see `Attack`."""
        active, found = Active.all(image, label), Found(image, objective)
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
        restart: int,
        found: Found,
        rank: int = 0,
    ) -> None:
        """Runs one restart; images that are no longer wanted leave on the way.

        Args:
            model: the classifier, whose calls are counted.
            active: what is attacked, from `origin`; with a class to aim at, only that boundary.
            threat: the ball.
            draw: of all images of the attack.
            restart: 0 begins at the image itself.
            found: takes note of every point of the ball.
            rank: of the class aimed at, for the random numbers.
        """
        if restart and len(active.rows):
            start = _start(active, threat, draw, restart + self.restarts * rank)
            active = active._replace(point=start)
        for step in range(1, self.steps + 1):
            if not len(active.rows):
                return
            value, normal = self._boundary(model, active, threat, found)
            if active.looks(step) and not (wanted := found.wanted(active.rows)).all():
                active, value, normal = active.select(wanted), value[wanted], normal[wanted]
                if not len(active.rows):
                    return
            point = _nearer(active, value, normal, threat.norm)
            active = active._replace(point=point)
            logits = model(point)
            broken = _see(active, logits, threat, found, "forwards")
            back = active.origin + _BACK * (point - active.origin)
            active = active._replace(point=torch.where(beside(broken), back, point))
            if active.looks(step) and not (wanted := found.wanted(active.rows)).all():
                active = active.select(wanted)

    def _boundary(
        self, model: Queries, active: Active, threat: ThreatModel, found: Found
    ) -> tuple[Tensor, Tensor]:
        """The nearest boundary's linear function at each point: `(n,)` value, `(n, D)` normal."""
        if active.aim is not None:
            logits, value, normal = model.gradient(active.point, logit_difference, *active.classes)
        else:
            logits, value, normal = model.least_gradient(
                active.point,
                _differences,
                lambda value, normal: _distance(value, normal, threat.norm),
                active.label,
            )
            more = logits.shape[1] - 2  # one backward for each class besides label and first
            found.pay(active.rows, "backwards", more)
        _see(active, logits, threat, found, "steps")
        return value.nan_to_num(0.0), normal.nan_to_num(0.0).flatten(1)


@dataclass(frozen=True)
class TargetedFAB:
    """FAB towards the likeliest other classes in turn (Croce & Hein 2020, 2003.01690).

    One backward a step instead of one for every class. Any wrong answer counts.

    Args:
        steps: towards each class.
        targets: how many classes; with fewer, every other class is one.
        restarts: of each; further ones begin half a radius off the image.
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.targets < 1:
            raise UserError(f"Expected `targets` of at least 1, but got {self.targets}.")
        FAB(self.steps, self.restarts)

    @property
    def about(self) -> About:
        """`fab_t`; it chooses its classes itself."""
        return About("fab_t", "FAB-T", targeted=False, climbs=False, forwards=1 + self.gradients)

    @property
    def gradients(self) -> int:
        """Steps times restarts times targets."""
        return self.steps * self.restarts * self.targets

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
        found, single = Found(image, objective), FAB(self.steps, self.restarts)
        everyone = Active.all(image, label)
        aims = likeliest_others(model(image), label, self.targets)
        found.pay(everyone.rows, "forwards")
        for rank in range(aims.shape[1]):
            active = everyone._replace(classes=(label, aims[:, rank]))
            for restart in range(self.restarts):
                wanted = active.select(found.wanted(active.rows))
                single.search(model, wanted, threat, draw, restart, found, rank)
        return found.result()


def _differences(logits: Tensor, label: Tensor) -> Tensor:
    """`(N, K - 1)` logits of every other class, less that of the label."""
    classes = logits.shape[1]
    others = (label[:, None] + torch.arange(1, classes, device=label.device)) % classes
    return logits.gather(1, others) - logits.gather(1, label[:, None])


def _distance(value: Tensor, normal: Tensor, norm: str) -> Tensor:
    """`(N,)` distance to where a linear function is 0."""
    length = torch.linalg.vector_norm(normal.flatten(1), _DUAL[norm], dim=1)
    return value.abs() / length.clamp_min(torch.finfo(length.dtype).tiny)


def _nearer(active: Active, value: Tensor, normal: Tensor, norm: str) -> Tensor:
    """The next points: over the boundary, between the ways from here and from the image."""
    here, origin = active.point.flatten(1), active.origin.flatten(1)
    at_origin = value + (normal * (origin - here)).sum(1)
    from_here = onto_hyperplane(here, normal, value, norm)
    from_origin = onto_hyperplane(origin, normal, at_origin, norm)
    lengths = [
        torch.linalg.vector_norm(change, _ORDER[norm], dim=1).clamp_min(_SMALLEST)
        for change in (from_here, from_origin)
    ]
    share = (lengths[0] / (lengths[0] + lengths[1])).clamp_max(_MOST)[:, None]
    point = torch.lerp(here + _OVERSHOOT * from_here, origin + _OVERSHOOT * from_origin, share)
    return point.clamp_(0, 1).reshape(active.point.shape)


def _see(active: Active, logits: Tensor, threat: ThreatModel, found: Found, spent: Spent) -> Tensor:
    """Takes note of points, as far as they are in the ball; returns which are adversarial."""
    broken = active.broken(logits)
    inside = threat.measure(active.point, active.origin) <= threat.epsilon
    loss = margin(logits, active.label).masked_fill(~inside, -torch.inf)
    found.see(active.rows, active.point, loss, broken & inside, spent)
    return broken


def _start(active: Active, threat: ThreatModel, draw: Draw, number: int) -> Tensor:
    """Half a radius off the image, in a random direction."""
    shape, draw = tuple(active.origin.shape[1:]), draw.select(active.rows)
    uniform = threat.norm == "linf"
    noise = (
        draw.uniform("fab", number, shape) * 2 - 1 if uniform else draw.normal("fab", number, shape)
    )
    length = torch.linalg.vector_norm(noise.flatten(1), _ORDER[threat.norm], dim=1)
    return (active.origin + noise * beside(0.5 * threat.epsilon / length)).clamp_(0, 1)
