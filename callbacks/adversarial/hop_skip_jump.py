"""HopSkipJump: walks along the decision boundary, asking for nothing but predicted classes."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About, AttackResult, Objective
from callbacks.adversarial.boundary import (
    MOST_HALVINGS,
    MOST_ROUNDS,
    Decisions,
    estimated_normal,
    noise_starts,
    onto_boundary,
    stepped,
)
from callbacks.adversarial.directions import centred, normal
from callbacks.adversarial.found import Found
from callbacks.adversarial.threat_models import ThreatModel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_FIRST_WIDTH = 0.1  # later it follows the distance
_LEAST_CHANGE = 1e-6  # of a pixel, root mean square: float32 tells pixels 6e-8 apart


@dataclass(frozen=True)
class HopSkipJump:
    """A walk along the boundary by decisions alone (Chen et al. 2020, 1904.02144).

    From an image of noise that the model gets wrong straight to the boundary; there, again and
    again, the normal is estimated from which of many small changes are adversarial, a step is taken
    along it, and the way back to the image is halved until it meets the boundary. An image counts
    as broken as soon as that point is within the ball. Where no start is found, nothing can be
    said of an image: the column `no_start` counts them.

    Args:
        steps: along the boundary; Foolbox takes 64.
        samples: changes that the first normal is estimated from; they grow as sqrt(step).
        most_samples: where that ends.
        gamma: precision of the boundary search, and size of the changes, of the distance / pixels.
        starts: images of noise tried at most.

    >>> [HopSkipJump().evaluations(step) for step in (1, 4, 64)]
    [100, 200, 800]
    """

    steps: int = 64
    samples: int = 100
    most_samples: int = 10_000
    gamma: float = 1.0
    starts: int = 100

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        for name in ("steps", "samples", "most_samples", "starts"):
            if (given := getattr(self, name)) < 1:
                raise UserError(f"Expected `{name}` of at least 1, but got {given}.")
        if not 0 < self.gamma < math.inf:
            raise UserError(f"Expected `gamma` to be a number above 0, but got {self.gamma}.")

    @property
    def about(self) -> About:
        """Untargeted: noise is seldom taken for one class, and images of others are not at hand."""
        return About(
            "hopskipjump", "HopSkipJump", ("linf", "l2"), targeted=False, climbs=False,
            forwards=self._most_forwards(), columns=("no_start",),
        )  # fmt: skip

    @property
    def gradients(self) -> int:
        """None."""
        return 0

    def evaluations(self, step: int) -> int:
        """Changes that the normal is estimated from, at a step from 1."""
        return min(int(self.samples * math.sqrt(step)), self.most_samples)

    def _most_forwards(self) -> int:
        estimates = sum(map(self.evaluations, range(1, self.steps + 1)))
        search = MOST_ROUNDS + 1  # and the point in the ball
        return 1 + self.starts + search + estimates + self.steps * (MOST_HALVINGS + search)

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
        """Walks towards every image until it is inside its ball; see `Attack`."""
        found, active = Found(image, objective), Active.all(image, label)
        no_start = torch.zeros_like(found.loss)
        if not len(image):
            return found.result()._replace(columns={"no_start": no_start})
        decide = Decisions(model, found)
        active = self._asked_as_they_are(decide, active)
        if len(active.rows):
            own = draw.select(active.rows)
            active, has_start = noise_starts(decide, active, own, self.starts)
            no_start[active.rows] = (~has_start).float()
            self._walk(decide, active.select(has_start), threat, draw)
        return found.result()._replace(columns={"no_start": no_start})

    def _asked_as_they_are(self, decide: Decisions, active: Active) -> Active:
        """Drops the images that are errors undisturbed."""
        broken, found = decide(active, active.origin), decide.found
        nothing = torch.full_like(found.loss, -torch.inf)
        found.see(active.rows, active.origin, nothing, broken, "forwards", 0)
        return active.select(found.wanted(active.rows))

    def _walk(self, decide: Decisions, active: Active, threat: ThreatModel, draw: Draw) -> None:
        """Goes to the boundary and along it; images that are no longer wanted leave on the way."""
        if not len(active.rows):
            return
        active, first = self._at_boundary(decide, active, threat), 0
        for step in range(1, self.steps + 1):
            active = active.select(decide.found.wanted(active.rows))
            if not len(active.rows):
                return
            count, own = self.evaluations(step), draw.select(active.rows)
            distance = threat.measure(active.point, active.origin)
            kind = centred if threat.norm == "linf" else normal
            width = self._width(distance, step, active.point[0].numel())
            outwards = estimated_normal(
                decide, active, own, kind, first=first, count=count, width=width
            )
            point = stepped(decide, active, outwards, threat, distance / math.sqrt(step))
            active = self._at_boundary(decide, active._replace(point=point), threat)
            first += count

    def _width(self, distance: Tensor, step: int, pixels: int) -> Tensor:
        """`(n,)` lengths of the changes, so small that the boundary is nearly flat."""
        if step == 1:
            return torch.full_like(distance, _FIRST_WIDTH)
        least = _LEAST_CHANGE * math.sqrt(pixels)
        return (self.gamma * distance / pixels).clamp_min(least)

    def _at_boundary(self, decide: Decisions, active: Active, threat: ThreatModel) -> Active:
        """Brings adversarial points to the boundary and takes note of them."""
        pixels = active.point[0].numel()
        precision = self.gamma / pixels ** (2 if threat.norm == "linf" else 1.5)
        active = active._replace(point=onto_boundary(decide, active, threat, precision))
        inside = threat.contains(active.point, active.origin)
        image = threat.project(active.point, active.origin)
        broken = inside.clone()
        if inside.any():  # rounded once more, so near to the boundary: asked again
            broken[inside] = decide(active.select(inside), image[inside])
        near = -threat.measure(active.point, active.origin)
        decide.found.see(active.rows, image, near, broken, "forwards", 0)
        return active
