"""Decoupled direction and norm: the sphere shrinks where the point errs and grows where not."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.losses import cross_entropy
from callbacks.adversarial.minimum_norm.nearest import (
    Distance,
    Nearest,
    NearestResult,
    bisect,
    measure,
)
from callbacks.adversarial.threat_models import L2, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_FIRST, _LAST = 1.0, 0.01  # lengths of the gradient steps, between which the cosine falls


@dataclass(frozen=True)
class DDN:
    """Walks along spheres whose radius follows the verdict (Rony et al. 2019, 1811.09600).

    Each step goes along the gradient of the cross-entropy at unit length; then the change is put
    to a radius that is a little smaller where the point was adversarial, larger where it was not.

    Args:
        steps: gradients.
        gamma: share by which the radius changes.
        radius: of the first sphere.
        levels: of grey that every point is rounded to, such as 256; None rounds nothing.
        bisections: forwards that draw the nearest point back towards the image.
    """

    steps: int = 100
    gamma: float = 0.05
    radius: float = 1.0
    levels: int | None = None
    bisections: int = 8

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.steps < 1 or self.bisections < 0:
            raise UserError(
                "Expected `steps` of at least 1 and `bisections` of at least 0, but got "
                f"{self.steps} and {self.bisections}."
            )
        if not 0 < self.gamma < 1 or not 0 < self.radius < math.inf:
            raise UserError(
                "Expected `gamma` between 0 and 1 and a finite `radius` above 0, but got "
                f"{self.gamma} and {self.radius}."
            )
        if self.levels is not None and self.levels < 2:
            raise UserError(f"Expected `levels` of at least 2, or None, but got {self.levels}.")

    @property
    def about(self) -> About:
        """Of Euclidean length."""
        forwards = 1 + self.bisections
        return About("ddn", "DDN", ("l2",), targeted=False, climbs=False, forwards=forwards)

    @property
    def gradients(self) -> int:
        """Steps."""
        return self.steps

    def __call__(
        self, model: Queries, image: Tensor, label: Tensor, norm: Distance, draw: Draw
    ) -> NearestResult:
        """Attacks `(N, C, H, W)` images; see `MinimumNormAttack`."""
        nearest, rows = Nearest(image, label, norm), torch.arange(len(image), device=image.device)
        point, radius = image, torch.full_like(nearest.distance, self.radius)
        most = measure(torch.maximum(image, 1 - image), torch.zeros_like(image), norm)
        for step in range(self.steps):
            logits, _, gradient = model.gradient(point, cross_entropy, nearest.label[rows])
            wrong = nearest.see(rows, point, logits, backwards=1)
            if step == 0 and wrong.any():  # nothing is nearer than the image itself
                rows, point, gradient = rows[~wrong], point[~wrong], gradient[~wrong]
                radius, most, wrong = radius[~wrong], most[~wrong], wrong[~wrong]
            if not len(rows):
                return nearest.result()
            radius = torch.where(wrong, 1 - self.gamma, 1 + self.gamma) * radius
            radius = radius.minimum(most)
            direction = _direction(gradient, draw, rows, step)
            size = _LAST + (_FIRST - _LAST) * (1 + math.cos(math.pi * step / self.steps)) / 2
            point = self._on_sphere(point + size * direction, image[rows], radius)
        nearest.see(rows, point, model(point))
        if self.levels is None:
            bisect(model, nearest, self.bisections)
        return nearest.result()

    def _on_sphere(self, point: Tensor, origin: Tensor, radius: Tensor) -> Tensor:
        """Puts the change to its length, the point into the box and, if asked, on grey levels."""
        point = (origin + beside(radius) * L2(0.0).ascent(point - origin)).clamp_(0, 1)
        if self.levels is not None:
            point = point.mul_(self.levels - 1).round_().div_(self.levels - 1)
        return point


def _direction(gradient: Tensor, draw: Draw, rows: Tensor, step: int) -> Tensor:
    """The gradient at unit length; a random direction where it is 0, e.g. of a sure answer."""
    direction = L2(0.0).ascent(gradient)
    flat = (direction == 0).flatten(1).all(1)
    if flat.any():
        noise = draw.select(rows).normal("ddn", step, tuple(gradient.shape[1:]))
        direction = torch.where(beside(flat), L2(0.0).ascent(noise), direction)
    return direction
