"""Fast minimum norm: a ball round each image, grown and shrunk until it touches the boundary."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.adversarial.active import looks
from callbacks.adversarial.attack import About
from callbacks.adversarial.losses import margin
from callbacks.adversarial.minimum_norm.nearest import (
    Distance,
    Nearest,
    NearestResult,
    bisect,
    measure,
)
from callbacks.adversarial.minimum_norm.own_balls import onto_own_ball
from callbacks.adversarial.threat_models import L2
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}  # the norm of a gradient that distances go by
_GAMMA_LAST = 0.001
_SIZE_LAST = 0.01  # of the first step size


class _State(NamedTuple):
    """Images still attacked: positions, originals, points, radii, the largest radii there are."""

    rows: Tensor
    origin: Tensor
    point: Tensor
    radius: Tensor
    most: Tensor

    def select(self, wanted: Tensor) -> "_State":
        return _State(*(part[wanted] for part in self))


@dataclass(frozen=True)
class FMN:
    """Fast minimum norm (Pintor et al. 2021, 2102.12827), for any of four norms.

    Each step goes up the margin, at unit length, and back into a ball of the image's own. While
    nothing is found the ball reaches the linearised boundary; then it shrinks where the point is
    adversarial and grows where not, by a share that falls along a cosine.

    Args:
        steps: gradients.
        step_size: Euclidean length of the first step, a hundredth of it at the end.
        gamma: share by which the radius changes at first.
        bisections: forwards that draw the nearest point back towards the image; none for L0.
    """

    steps: int = 100
    step_size: float = 1.0
    gamma: float = 0.05
    bisections: int = 8

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.steps < 1 or self.bisections < 0:
            raise UserError(
                "Expected `steps` of at least 1 and `bisections` of at least 0, but got "
                f"{self.steps} and {self.bisections}."
            )
        if not 0 < self.gamma < 1 or not 0 < self.step_size < math.inf:
            raise UserError(
                "Expected `gamma` between 0 and 1 and a finite `step_size` above 0, but got "
                f"{self.gamma} and {self.step_size}."
            )

    @property
    def about(self) -> About:
        """All four norms, L2 where none is said."""
        norms, forwards = ("l2", "linf", "l1", "l0"), 1 + self.bisections
        return About("fmn", "FMN", norms, targeted=False, climbs=False, forwards=forwards)

    @property
    def gradients(self) -> int:
        """Steps."""
        return self.steps

    def __call__(
        self, model: Queries, image: Tensor, label: Tensor, norm: Distance, draw: Draw
    ) -> NearestResult:
        """Attacks `(N, C, H, W)` images; see `MinimumNormAttack`."""
        nearest, state = Nearest(image, label, norm), _start(image, norm)
        for step in range(self.steps):
            logits, value, gradient = model.gradient(state.point, margin, nearest.label[state.rows])
            wrong = nearest.see(state.rows, state.point, logits, backwards=1)
            if looks(step, image.device) and not (keep := nearest.improvable(state.rows)).all():
                state, wrong = state.select(keep), wrong[keep]
                value, gradient = value[keep], gradient[keep]
            if not len(state.rows):
                return nearest.result()
            value, gradient = value.nan_to_num(0.0), gradient.nan_to_num(0.0)
            cosine = (1 + math.cos(math.pi * step / self.steps)) / 2
            gamma = _GAMMA_LAST + (self.gamma - _GAMMA_LAST) * cosine
            size = self.step_size * (_SIZE_LAST + (1 - _SIZE_LAST) * cosine)
            radius = _next_radius(state, wrong, nearest, value, gradient, gamma)
            point = state.point + size * L2(0.0).ascent(gradient)
            point = onto_own_ball(point, state.origin, radius, norm)
            state = state._replace(point=point, radius=radius)
        nearest.see(state.rows, state.point, model(state.point))
        if norm != "l0":
            bisect(model, nearest, self.bisections)
        return nearest.result()


def _start(image: Tensor, norm: Distance) -> _State:
    """At the images, with no ball yet; for L0 of one coordinate."""
    n, device = len(image), image.device
    radius = torch.full((n,), 1.0 if norm == "l0" else torch.inf, device=device)
    most = measure(torch.maximum(image, 1 - image), torch.zeros_like(image), norm)
    return _State(torch.arange(n, device=device), image, image, radius, most)


def _next_radius(
    state: _State, wrong: Tensor, nearest: Nearest, value: Tensor, gradient: Tensor, gamma: float
) -> Tensor:
    """`(n,)` radii: below the nearest point where this one is adversarial, else larger."""
    best = nearest.distance[state.rows].minimum(state.most)
    radius = state.radius
    if nearest.norm == "l0":
        less = (radius - 1).minimum((radius * (1 - gamma)).floor()).minimum(best)
        more = (radius + 1).maximum((radius * (1 + gamma)).floor())
        return torch.where(wrong, less, more).clamp_min(1).minimum(state.most)
    slope = torch.linalg.vector_norm(gradient.flatten(1), _DUAL[nearest.norm], dim=1)
    gap = value.abs() / slope.clamp_min(torch.finfo(slope.dtype).tiny)
    here = measure(state.point, state.origin, nearest.norm)
    found = nearest.distance[state.rows].isfinite()
    grown = radius * (1 + gamma)
    # Where the box cuts steps short the linear guess alone would creep up and never arrive.
    guess = (here + gap).maximum(grown.where(grown.isfinite(), here))
    more = torch.where(found, grown, guess)
    return torch.where(wrong, (radius * (1 - gamma)).minimum(best), more).minimum(state.most)
