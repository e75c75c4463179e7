"""How far round an image the model is the linear function its gradient promises."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import scores, target_logit
from callbacks.interpretability.regions.segments import grid_segments, sum_by_segment
from callbacks.interpretability.surrogates.least_squares import r2, weighted_ridge
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
    backwards: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses a fit to nothing, and R² of fewer than two rows."""
        at_least(1, draws=self.draws)
        at_least(2, held_out=self.held_out)

    @property
    def forwards(self) -> int:
        """One for each row."""
        return self.draws + self.held_out

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`; the map is not used, and no gradient: a model without any can be judged."""
        parts = [
            self._fit(*self._rows(model, image[r], target[r], draw.select(r)))[2]
            for r in self._chunks(model, image)
        ]
        return torch.cat(parts)

    def fitted(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LinearFit:
        """Fits the surrogate of every image; asks for one gradient each beside the rows."""
        parts = [
            self._fitted(model, image[r], target[r], draw.select(r))
            for r in self._chunks(model, image)
        ]
        return LinearFit(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _chunks(self, model: Queries, image: Tensor) -> tuple[Tensor, ...]:
        return torch.arange(len(image), device=image.device).split(model.chunk or 128)

    def _rows(
        self, model: Queries, image: Tensor, target: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """Disturbances `(N, R, S)` and the logits they make `(N, R)`, held out ones last."""
        segment, count = grid_segments(image, self.grid), self.draws + self.held_out
        delta = self.radius * draw.normal("local linear", 0, (count, self.grid**2)).to(image)

        def moved(sample: Tensor, step: Tensor) -> Tensor:
            return image[sample] + delta[sample, step][:, segment][:, None]

        return delta, scores(model, image, target, count, moved)

    def _fit(self, delta: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights `(N, S)`, intercepts `(N,)` and R² `(N,)` on the rows held out."""
        n = self.draws
        weight, intercept = weighted_ridge(
            delta[:, :n], value[:, :n], torch.ones_like(value[:, :n])
        )
        guess = (delta[:, n:] * weight[:, None]).sum(2) + intercept[:, None]
        return weight, intercept, r2(value[:, n:], guess)

    def _fitted(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> LinearFit:
        delta, value = self._rows(model, image, target, draw)
        logits, _, gradient = model.gradient(image, target_logit, target)
        slope = sum_by_segment(gradient.sum(1, keepdim=True), grid_segments(image, self.grid))
        n = self.draws
        promised = (delta[:, n:] * slope[:, None]).sum(2) + target_logit(logits, target)[:, None]
        return LinearFit(*self._fit(delta, value), r2(value[:, n:], promised))
