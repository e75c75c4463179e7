"""DeepFool: over the nearest boundary of the linearised model, again and again."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About
from callbacks.adversarial.losses import likeliest_others
from callbacks.adversarial.minimum_norm.nearest import Distance, Nearest, NearestResult, bisect
from callbacks.adversarial.threat_models import THREAT_MODELS, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_DUAL = {"linf": 1, "l2": 2}  # the norm of a gradient that distances go by
_MORE = 1e-4  # added to every step, or steps that the box cuts short would never arrive


@dataclass(frozen=True)
class DeepFool:
    """Steps over the nearest linearised boundary until the answer changes (1511.04599).

    Moosavi-Dezfooli et al. 2016. Quick, and exact where the model is linear; it stops at the first
    point that errs, which is seldom the nearest.

    Args:
        steps: at most.
        overshoot: share of the change that is added to it.
        candidates: classes whose boundaries are looked at, the label and the likeliest others.
        bisections: forwards that draw the point back towards the image.
    """

    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10
    bisections: int = 8

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.steps < 1 or self.candidates < 2 or self.overshoot < 0 or self.bisections < 0:
            raise UserError(
                "Expected `steps` of at least 1, `candidates` of at least 2, `overshoot` and "
                f"`bisections` of at least 0, but got {self.steps}, {self.candidates}, "
                f"{self.overshoot}, {self.bisections}."
            )

    @property
    def about(self) -> About:
        """It goes to whichever class is nearest."""
        forwards = 1 + self.steps + self.bisections
        norms = ("l2", "linf")
        return About("deepfool", "DeepFool", norms, targeted=False, climbs=False, forwards=forwards)

    @property
    def gradients(self) -> int:
        """Steps; each takes a backward for every candidate but the label."""
        return self.steps

    def __call__(
        self, model: Queries, image: Tensor, label: Tensor, norm: Distance, draw: Draw
    ) -> NearestResult:
        """Attacks `(N, C, H, W)` images; see `MinimumNormAttack`."""
        nearest, active = Nearest(image, label, norm), Active.all(image, label)
        wrong = nearest.see(active.rows, image, model(image))
        for _ in range(self.steps):
            active = active.select(~wrong)
            if not len(active.rows):
                break
            step = self._step(model, active, norm, nearest)
            point = (active.point + (1 + self.overshoot) * step).clamp_(0, 1)
            active = active._replace(point=point)
            wrong = nearest.see(active.rows, point, model(point))
        bisect(model, nearest, self.bisections)
        return nearest.result()

    def _step(self, model: Queries, active: Active, norm: str, nearest: Nearest) -> Tensor:
        """`(n, C, H, W)` just over the nearest of the linearised boundaries."""
        logits, value, normal = model.least_gradient(
            active.point,
            self._differences,
            lambda value, normal: _distance(value, normal, norm),
            active.label,
        )
        nearest.forwards[active.rows] += 1
        nearest.backwards[active.rows] += min(self.candidates, logits.shape[1]) - 1
        length = _distance(value, normal, norm) + _MORE
        return beside(length.nan_to_num(0.0, 0.0, 0.0)) * THREAT_MODELS[norm](0.0).ascent(normal)

    def _differences(self, logits: Tensor, label: Tensor) -> Tensor:
        """`(N, M)` logits of the likeliest other classes, less that of the label."""
        others = likeliest_others(logits.detach(), label, self.candidates - 1)
        return logits.gather(1, others) - logits.gather(1, label[:, None])


def _distance(value: Tensor, normal: Tensor, norm: str) -> Tensor:
    """`(N,)` distance to where a linear function is 0."""
    length = torch.linalg.vector_norm(normal.flatten(1), _DUAL[norm], dim=1)
    return value.abs() / length.clamp_min(torch.finfo(length.dtype).tiny)
