"""Carlini & Wagner's L2 attack: distance and margin in one sum, whose weight is searched for."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.losses import margin
from callbacks.adversarial.minimum_norm.nearest import Distance, Nearest, NearestResult, bisect
from callbacks.adversarial.threat_models import beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_INSIDE = 1 - 1e-6  # pixels at an edge of the box lie at infinity behind the tangent
_BETAS, _TINY = (0.9, 0.999), 1e-8  # of Adam
_STEPS, _RATE = 10_000, 0.01  # the authors' own
_LOOKS = 10  # in a search, at whether the sum still falls
_STILL = 0.9999  # of the least sum so far: what is more than that falls no longer
_PATIENCE = 2  # looks in a row; with the first steps of a large weight the sum may well rise
_GROWTH = 10.0  # of the weight while nothing is found


class _State(NamedTuple):
    """Images still at work in one search.

    Args:
        rows: positions.
        origin: originals.
        start: originals behind the tangent.
        change: of that.
        mean: Adam's running mean of the gradient.
        square: of its square.
        weight: of the margin.
        before: the least sum at a look.
        still: looks in a row at which there was no lesser one.
    """

    rows: Tensor
    origin: Tensor
    start: Tensor
    change: Tensor
    mean: Tensor
    square: Tensor
    weight: Tensor
    before: Tensor
    still: Tensor

    @classmethod
    def at(cls, origin: Tensor, rows: Tensor, weight: Tensor) -> "_State":
        """At the images."""
        nothing = torch.zeros_like(origin)
        # In double precision: torch's float atanh rounds by an element's place in memory.
        start = ((2 * origin.double() - 1) * _INSIDE).atanh().to(origin.dtype)
        before = torch.full_like(weight, torch.inf)
        return cls(rows, origin, start, nothing, nothing, nothing, weight, before, 0 * rows)

    def select(self, wanted: Tensor) -> "_State":
        return _State(*(part[wanted] for part in self))


@dataclass(frozen=True)
class CarliniWagner:
    """Minimises distance² + c · max(kappa - margin, 0) with Adam (Carlini & Wagner, 1608.04644).

    2017. The image is (tanh w + 1) / 2, so that it cannot leave the box. The weight c is searched
    for: ten times more until something is found, then by halves. Dear, and seldom better than FMN.

    Args:
        steps: gradients of each search, at most; an image leaves early where its sum falls no more.
        searches: for the weight.
        learning_rate: of Adam; None takes the authors' 0.01 for their 10,000 steps, and more for
            fewer, in proportion to 1 / √steps: with 0.01 a hundred steps would not arrive.
        weight: c of the first search.
        kappa: margin that a point must have to count; 0 for the nearest one.
        abort_early: whether images leave a search early.
        bisections: forwards that draw the nearest point back towards the image; none with kappa.
    """

    steps: int = _STEPS
    searches: int = 9
    learning_rate: float | None = None
    weight: float = 0.001
    kappa: float = 0.0
    abort_early: bool = True
    bisections: int = 8

    def __post_init__(self) -> None:
        """Refuses values that would attack nothing."""
        if self.steps < 1 or self.searches < 1 or self.bisections < 0:
            raise UserError(
                "Expected `steps` and `searches` of at least 1 and `bisections` of at least 0, but "
                f"got {self.steps}, {self.searches} and {self.bisections}."
            )
        if not (self._rate > 0 and self.weight > 0 and self.kappa >= 0):
            raise UserError(
                "Expected `learning_rate` and `weight` above 0 and `kappa` of at least 0, but got "
                f"{self.learning_rate}, {self.weight} and {self.kappa}."
            )

    @property
    def _rate(self) -> float:
        if self.learning_rate is None:
            return _RATE * (_STEPS / self.steps) ** 0.5
        return self.learning_rate

    @property
    def about(self) -> About:
        """Of Euclidean length."""
        forwards, norms = 1 + self.bisections, ("l2",)
        return About("cw", "Carlini-Wagner", norms, targeted=False, climbs=False, forwards=forwards)

    @property
    def gradients(self) -> int:
        """Steps times searches."""
        return self.steps * self.searches

    def __call__(
        self, model: Queries, image: Tensor, label: Tensor, norm: Distance, draw: Draw
    ) -> NearestResult:
        """Attacks `(N, C, H, W)` images; see `MinimumNormAttack`."""
        nearest, rows = Nearest(image, label, norm), torch.arange(len(image), device=image.device)
        rows = rows[~nearest.see(rows, image, model(image))]
        weight = torch.full_like(nearest.distance, self.weight)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
        for number in range(self.searches if len(rows) else 0):
            if number >= 9 and number == self.searches - 1:
                weight = torch.where(high.isfinite(), high, weight)  # what is known to succeed
            found = self._search(model, nearest, rows, weight)
            high = torch.where(found, high.minimum(weight), high)
            low = torch.where(found, low, low.maximum(weight))
            weight = torch.where(high.isfinite(), (low + high) / 2, _GROWTH * weight)
        if not self.kappa:
            bisect(model, nearest, self.bisections)
        return nearest.result()

    def _search(self, model: Queries, nearest: Nearest, rows: Tensor, weight: Tensor) -> Tensor:
        """`(N,)` bool: Adam met an adversarial point with this weight."""
        found = torch.zeros_like(nearest.distance, dtype=torch.bool)
        state, look = _State.at(nearest.origin[rows], rows, weight[rows]), -(-self.steps // _LOOKS)
        for step in range(self.steps):
            point = _image(state.start + state.change)
            label = nearest.label[state.rows]
            logits, value, gradient = model.gradient(point, margin, label)
            found[state.rows] |= nearest.see(state.rows, point, self._raised(logits, label), 1)
            away, gap = point - state.origin, (self.kappa - value).clamp_min(0)
            if self.abort_early and step % look == 0:
                total = away.flatten(1).square().sum(1) + state.weight * gap
                still = (total > _STILL * state.before) * (state.still + 1)
                keep = still < _PATIENCE
                state = state._replace(before=total.fmin(state.before), still=still).select(keep)
                point, away, gap, gradient = (part[keep] for part in (point, away, gap, gradient))
            if not len(state.rows):
                break
            pull = -beside(state.weight * (gap > 0)) * gradient.nan_to_num(0.0)
            slope = (2 * away + pull) * (2 * point * (1 - point))  # the tangent's own slope
            state = self._moved(state, slope, step + 1)
        return found

    def _raised(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits with kappa added to the label's, so that what errs by less does not count."""
        if not self.kappa:
            return logits
        return logits + self.kappa * F.one_hot(label, logits.shape[1])

    def _moved(self, state: _State, slope: Tensor, step: int) -> _State:
        """A step of Adam against the slope."""
        mean = torch.lerp(slope, state.mean, _BETAS[0])
        square = torch.lerp(slope.square(), state.square, _BETAS[1])
        scale = (square / (1 - _BETAS[1] ** step)).sqrt_().add_(_TINY)
        move = self._rate / (1 - _BETAS[0] ** step) * mean / scale
        return state._replace(change=state.change - move, mean=mean, square=square)


def _image(behind: Tensor) -> Tensor:
    """From behind the tangent to [0, 1]."""
    return (behind.tanh() + 1) / 2
