"""How far round an image the model is the linear function its gradient promises."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.explainer import scores, target_logit
from callbacks.interpretability.least_squares import r2, weighted_ridge
from callbacks.interpretability.segments import grid_segments, sum_by_segment
from callbacks.queries import Queries
from callbacks.randomness import Draw


class LinearFit(NamedTuple):
    """g(x + d) = b + w·d, d one number for each patch, with what it is worth.

    Args:
        weight: `(N, S)` logits per unit of brightness of a patch.
        intercept: `(N,)` logits.
        r2: `(N,)` on draws that were not fitted, at most 1.
        first_order: `(N,)` the same for the gradient in the place of w, which needs no fit.
    """

    weight: Tensor
    intercept: Tensor
    r2: Tensor
    first_order: Tensor


@dataclass(frozen=True)
class LocalLinearity:
    """Held-out R² of a linear function fitted to the logit round the image.

    Disturbances are normal, one number for each patch and all its channels, not clipped. As the
    radius goes to 0 the weights become the gradient; report R² against several radii.

    Args:
        radius: standard deviation of the disturbance, in pixel units.
        grid: patches along each side, S = grid².
        draws: rows fitted, at least 10·S.
        held_out: further rows for R².
    """

    radius: float = 0.1
    grid: int = 4
    draws: int = 160
    held_out: int = 40
    higher_is_better: ClassVar[bool | None] = True
    backwards: int = field(default=1, init=False, repr=False)

    @property
    def forwards(self) -> int:
        """One for each row and one for the gradient."""
        return self.draws + self.held_out + 1

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`; the map is not used."""
        return self.fitted(model, image, target, draw).r2

    def fitted(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LinearFit:
        """Fits the surrogate of every image."""
        rows = torch.arange(len(image), device=image.device).split(model.chunk or 128)
        parts = [self._fit(model, image[r], target[r], draw.select(r)) for r in rows]
        return LinearFit(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _fit(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LinearFit:
        segment, count = grid_segments(image, self.grid), self.draws + self.held_out
        normal = draw.normal("local linear", 0, (count, self.grid**2)).to(image)
        delta = self.radius * normal

        def moved(sample: Tensor, step: Tensor) -> Tensor:
            return image[sample] + delta[sample, step][:, segment][:, None]

        value = scores(model, image, target, count, moved)
        logits, _, gradient = model.gradient(image, target_logit, target)
        slope = sum_by_segment(gradient.sum(1, keepdim=True), segment)
        n = self.draws
        weight, intercept = weighted_ridge(
            delta[:, :n], value[:, :n], torch.ones_like(value[:, :n])
        )
        fresh, truth = delta[:, n:], value[:, n:]
        guess = (fresh * weight[:, None]).sum(2) + intercept[:, None]
        promised = (fresh * slope[:, None]).sum(2) + target_logit(logits, target)[:, None]
        return LinearFit(weight, intercept, r2(truth, guess), r2(truth, promised))
