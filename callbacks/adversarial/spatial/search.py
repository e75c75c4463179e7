"""The worst rotation and translation of each image, from a grid or from random draws."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.adversarial.active import Active
from callbacks.adversarial.attack import About, Objective
from callbacks.adversarial.found import Found
from callbacks.adversarial.losses import cross_entropy
from callbacks.adversarial.spatial.turns import ANGLE, SHIFT, Fill, Turns
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError

_AT_ONCE = 25
"""Turns asked about before broken images leave: fixed, so that no image's cost hangs on others."""


class WorstTurn(NamedTuple):
    """What a search found; whoever called it turns the images and asks the model again.

    Args:
        turn: `(N, 3)`, the first one that errs, else that of highest loss.
        worst: `(N, 3)`, that of highest loss; `turn` itself for objective "verdict".
        forwards: `(N,)` questions spent on each image.
    """

    turn: Tensor
    worst: Tensor
    forwards: Tensor


@dataclass(frozen=True)
class Spatial:
    """The worst of a grid of rotations and translations (Engstrom et al. 2019, 1712.02779).

    31 angles up to 30 degrees times 5 x 5 shifts up to 3/32 of the side, as published; gradients
    are of no help here. The angle is the severity, and the shift keeps its proportion to it.

    Args:
        angles: of the grid.
        shifts: of the grid, each way.
        draws: random turns in place of the grid, for large images (published: 10); None: the grid.
        shift: largest shift at 30 degrees, as a share of the side; more or less in proportion.
        fill: what comes in from outside: "zeros" (black, as published) or "reflection".

    >>> Spatial().queries, Spatial(draws=10).queries
    (775, 10)
    """

    angles: int = 31
    shifts: int = 5
    draws: int | None = None
    shift: float = SHIFT
    fill: Fill = "zeros"

    def __post_init__(self) -> None:
        """Refuses grids of nothing."""
        for name in ("angles", "shifts", "draws"):
            if (given := getattr(self, name)) is not None and given < 1:
                raise UserError(f"Expected `{name}` of at least 1, but got {given}.")
        self.within(ANGLE)  # refuses the rest

    @property
    def about(self) -> About:
        """Asks for answers only."""
        name, how = ("spatial", "worst of {:,}")
        if self.draws is not None:
            name, how = ("spatial_random", "worst of {:,} random")
        title = f"Rotation and shift, {how.format(self.queries)}"
        return About(name, title, ("spatial",), targeted=False, forwards=self.queries)

    @property
    def queries(self) -> int:
        """Turns an image is tried under at most."""
        return self.draws or self.angles * self.shifts**2

    def within(self, angle: float) -> Turns:
        """The set whose largest rotation is `angle` degrees."""
        return Turns(angle, self.shift * angle / ANGLE, self.fill)

    def __call__(
        self,
        model: Queries,
        image: Tensor,
        label: Tensor,
        turns: Turns,
        draw: Draw,
        objective: Objective = "verdict",
    ) -> WorstTurn:
        """Tries the turns on `(N, C, H, W)` images.

        Args:
            model: the classifier, whose calls are counted.
            image: `(N, C, H, W)` in [0, 1].
            label: `(N,)` true classes.
            turns: the set.
            draw: the samples' own random numbers.
            objective: "verdict" stops an image as soon as it is answered wrongly.
        """
        active = Active.all(image, label)
        found = Found(image.new_zeros(len(image), 3, 1, 1), objective)  # no turn to begin with
        tried = self._tried(image, turns, draw)
        for some in tried.split(_AT_ONCE, 1):
            active = active.select(found.wanted(active.rows))
            if not len(active.rows):
                break
            some = some[active.rows]
            answers = _answers(model, active.origin, some, turns)
            found.pay(active.rows, "forwards", some.shape[1])
            for turn, logits in zip(some.unbind(1), answers.unbind(1), strict=True):
                loss, broken = cross_entropy(logits, active.label), active.broken(logits)
                point = turn[:, :, None, None]
                found.see(active.rows, point, loss, broken, "forwards", times=0)
        return WorstTurn(found.image.flatten(1), found.worst.flatten(1), found.forwards)

    def _tried(self, image: Tensor, turns: Turns, draw: Draw) -> Tensor:
        """`(N, queries, 3)` turns of each image."""
        if self.draws is not None:
            return turns.sample(image, draw, self.draws)
        return turns.grid(image, self.angles, self.shifts).expand(len(image), -1, -1)


def _answers(model: Queries, image: Tensor, turn: Tensor, turns: Turns) -> Tensor:
    """Answers `(n, g, K)` to images under `(n, g, 3)` turns, no more than a call at a time."""
    pairs = torch.arange(turn[..., 0].numel(), device=image.device)
    answers = [
        model(turns.apply(image[some // turn.shape[1]], turn.flatten(0, 1)[some]))
        for some in pairs.split(model.chunk or len(pairs))
    ]
    return torch.cat(answers).unflatten(0, turn.shape[:2])
