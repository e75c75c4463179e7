"""Shapley values of patches by regression over coalitions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.interpretability.explainer import scores, target_logit
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.interpretability.regions.segments import (
    SegmentsName,
    areas,
    segmented,
    spread,
    switched,
)
from callbacks.interpretability.sampling_error import Estimated
from callbacks.interpretability.surrogates.least_squares import (
    jackknife_error,
    left_out,
    through_origin,
)
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class KernelShap:
    """Shapley values of patches by weighted regression (Lundberg & Lee 2017, 1705.07874).

    Coalitions are drawn with the kernel's own probabilities, each with its complement; the empty
    and the full one are constraints, not heavy rows. Exact where all coalitions fit in. Captum
    draws 25 in all.

    An empty superpixel is a dummy player: its value is 0, not merely about 0.

    Args:
        draws: coalitions; the package `shap` takes 2·patches + 2,048.
        grid: patches along each side; grid² is the number of superpixels.
        fill: what a patch is that takes no part.
        segments: squares, the same for all images, or each image's superpixels.
    """

    draws: int = 512
    grid: int = 7
    fill: FillName = "mean"
    segments: SegmentsName = "grid"

    def __post_init__(self) -> None:
        """Refuses too few coalitions for the number of patches."""
        if self.grid < 2 or (self.draws < 2 * self.grid**2 and not self._exact):
            raise UserError(
                f"Expected `grid` >= 2 and `draws` >= 2·grid², but got {self.grid} and "
                f"{self.draws}: {2 * self.grid**2} coalitions would determine the patches."
            )

    @property
    def forwards(self) -> int:
        """One for each coalition, the empty and the full one included."""
        return (2**self.grid**2 - 2 if self._exact else 2 * (self.draws // 2)) + 2

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    @property
    def _exact(self) -> bool:
        return self.grid**2 <= 20 and 2**self.grid**2 - 2 <= self.draws

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        return self.estimated(model, image, target, draw).map

    def estimated(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Estimated:
        """The map with its standard error over other coalitions; 0 where all of them fit in."""
        size = model.chunk or 128  # the regressions of no more than a chunk exist at a time
        rows = torch.arange(len(image), device=image.device).split(size)
        segment = segmented(self.segments, image, self.grid, size)
        parts = [self._values(model, image[r], segment[r], target[r], draw.select(r)) for r in rows]
        columns = (torch.cat(column) for column in zip(*parts, strict=True))
        return Estimated(*(spread(column, segment) for column in columns))

    def _values(
        self, model: Queries, image: Tensor, segment: Tensor, target: Tensor, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        away = filled(self.fill, image, draw)
        if self._exact:
            coalition, weight = all_coalitions(self.grid**2, image)
            coalition = coalition.expand(len(image), *coalition.shape)
            weight = weight.expand(len(image), -1)
        else:
            coalition = drawn_coalitions(draw, self.draws // 2, self.grid**2)
            weight = image.new_ones(coalition.shape[:2])

        def joined(sample: Tensor, step: Tensor) -> Tensor:
            there = switched(coalition[sample, step], segment[sample])
            return torch.where(there, image[sample], away[sample])

        value = scores(model, image, target, coalition.shape[1], joined)
        full, empty = (target_logit(model(one), target) for one in (image, away))
        present = areas(segment, self.grid**2) > 0
        found = shapley_regression(coalition, value, weight, empty, full, present)
        if self._exact:
            return found, torch.zeros_like(found)
        return found, shapley_errors(coalition, value, empty, full, present)


def shapley_regression(
    coalition: Tensor,
    value: Tensor,
    weight: Tensor,
    empty: Tensor,
    full: Tensor,
    present: Tensor | None = None,
) -> Tensor:
    """Solves for Shapley values, whose sum is exactly full - empty.

    Known dummies leave the regression: their value 0 is its solution for all coalitions, so the
    others' values are not changed but for the noise of drawn coalitions.

    Args:
        coalition: `(N, S, M)` bool, who takes part.
        value: `(N, S)` of each coalition.
        weight: `(N, S)` of each coalition.
        empty: `(N,)` value of nobody.
        full: `(N,)` value of everybody.
        present: `(N, M)` bool, False of dummies; None has none. At least one must be present.

    Returns:
        `(N, M)`.
    """
    others, answer, order, real = _free(coalition, value, empty, full, present)
    # Times `real`: exactly 0, where solving leaves a rounding error.
    most = through_origin(others, answer, weight.double()) * real
    found = torch.cat([most, ((full - empty).double() - most.sum(1))[:, None]], 1)
    return torch.zeros_like(found).scatter(1, order, found).to(value)


def shapley_errors(
    coalition: Tensor, value: Tensor, empty: Tensor, full: Tensor, present: Tensor | None = None
) -> Tensor:
    """Standard errors `(N, M)` of `shapley_regression` over other pairs of coalitions.

    By the jackknife over pairs, because a coalition and its complement are no two draws: of both
    rows together the regression sees half the difference.

    Args:
        coalition: `(N, S, M)` bool, each followed by its complement, of equal weight.
        value: see `shapley_regression`, as all others.
        empty: the same.
        full: the same.
        present: the same.
    """
    others, answer, order, _ = _free(coalition, value, empty, full, present)
    answer = (answer[:, ::2] - answer[:, 1::2]) / 2
    moved = left_out(others[:, ::2], answer, torch.ones_like(answer))
    error = jackknife_error(torch.cat([moved, -moved.sum(2, keepdim=True)], 2))
    return torch.zeros_like(error).scatter(1, order, error).to(value)


def _free(
    coalition: Tensor, value: Tensor, empty: Tensor, full: Tensor, present: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The regression that is left when one player's value follows from the sum.

    Returns:
        Features `(N, S, M - 1)`, answers `(N, S)`, the order of players `(N, M)` whose last one is
        left out, and which of the others are no dummies, `(N, M - 1)`.
    """
    real = torch.ones_like(coalition[:, 0]) if present is None else present
    order = real.long().argsort(dim=1, stable=True)  # dummies first: the last is not one
    z, gain = coalition.gather(2, order[:, None].expand_as(coalition)), (full - empty).double()
    z, real = z.double(), real.gather(1, order)[:, :-1]
    last = z[:, :, -1:]
    answer = value.double() - empty.double()[:, None] - last[:, :, 0] * gain[:, None]
    return (z[:, :, :-1] - last) * real[:, None], answer, order, real


def all_coalitions(players: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Every coalition but the two ends `(S, M)` bool, with the Shapley kernel `(S,)`."""
    number = torch.arange(1, 2**players - 1, device=like.device)
    coalition = (number[:, None] >> torch.arange(players, device=like.device) & 1).bool()
    size = coalition.sum(1).double()
    binomial = torch.special.gammaln(torch.tensor(players + 1.0).double()) - (
        torch.special.gammaln(size + 1) + torch.special.gammaln(players - size + 1)
    )
    return coalition, (players - 1) / (binomial.exp() * size * (players - size)).to(like)


def drawn_coalitions(draw: Draw, pairs: int, players: int) -> Tensor:
    """Draws coalitions with the kernel's probabilities, each followed by its complement.

    A size s has probability proportional to 1 / (s·(players - s)), the members are uniform.

    Args:
        draw: of the N samples.
        pairs: how many draws.
        players: M.

    Returns:
        `(N, 2·pairs, M)` bool.
    """
    size = torch.arange(1, players, device=draw.index.device).double()
    chance = (1 / (size * (players - size))).cumsum(0)
    chance = (chance / chance[-1]).float()
    dice = draw.uniform("coalition size", 0, (pairs,))
    chosen = torch.searchsorted(chance, dice, right=True).clamp(max=players - 2) + 1
    rank = draw.uniform("coalition", 0, (pairs, players)).argsort(dim=2, stable=True).argsort(2)
    coalition = rank < chosen[:, :, None]
    return torch.stack([coalition, ~coalition], 2).flatten(1, 2)
