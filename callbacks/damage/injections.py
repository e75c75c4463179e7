"""How often a single damage silently changes a single answer, injected until it is known."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.damage.kind import Damage
from callbacks.damage.silent_errors import SilentErrors
from callbacks.damage.variant import answered_with, with_aliases
from callbacks.statistics import Interval, rate
from datamodules.errors import UserError


def sample_size(population: int, error: float, level_t: float = 1.96, prior: float = 0.5) -> int:
    """Injections needed for a margin (Leveugle et al., Statistical fault injection, DATE 2009).

    Args:
        population: bits that may be hit.
        error: half-width of the interval, e.g. 0.05.
        level_t: quantile of the confidence, 1.96 for 95 %.
        prior: expected rate; 0.5 is the worst case.

    Raises:
        UserError: a margin or a prior that is no share.
    """
    if not 0 < error < 1 or not 0 < prior < 1:
        raise UserError(f"Expected `error` and `prior` in (0, 1), but got {error:g} and {prior:g}.")
    spread = level_t**2 * prior * (1 - prior)
    return round(population / (1 + error**2 * (population - 1) / spread))


def until_known(outcomes: Iterable[bool], error: float, at_least: int = 30) -> tuple[Interval, int]:
    """Takes injections until Wilson's interval of their rate is narrow enough.

    Args:
        outcomes: whether each injection was an error; only as many are taken as needed.
        error: half-width to stop at.
        at_least: injections before the first look, so that luck at the start stops nothing.

    Returns:
        The rate with its interval, and how many injections it took.
    """
    hits = n = 0
    found = Interval(float("nan"), 0.0, 1.0)
    for outcome in outcomes:
        hits, n = hits + bool(outcome), n + 1
        found = rate(hits, n)
        if n >= at_least and (found.high - found.low) / 2 <= error:
            break
    return found, n


def silent_error_rate(
    model: nn.Module, image: Tensor, damage: Damage, severity: float, error: float, seed: int = 0
) -> dict[str, Any]:
    """Injects damage, every time another draw and another image, until the rate is known.

    Args:
        model: undamaged, in evaluation mode.
        image: `(N, C, H, W)`.
        damage: random and of parameters.
        severity: in its unit.
        error: half-width of Wilson's 95 % interval to stop at.
        seed: of the draws.

    Returns:
        `severity sdc sdc_low sdc_high injections`, and `needed`: what a fixed sample of all weights
        or bits would take at the worst rate (Leveugle et al., DATE 2009).
    """
    outcomes = _outcomes(model, image, damage, severity, seed)
    share, injections = until_known(outcomes, error)
    population = sum(weight.numel() for weight in model.parameters())
    if hasattr(damage, "population"):
        population = damage.population(model)  # type: ignore[attr-defined]
    counts = {"injections": injections, "needed": sample_size(population, error)}
    return {"severity": severity, **share.columns("sdc"), **counts}


@torch.no_grad()
def _outcomes(
    model: nn.Module, image: Tensor, damage: Damage, severity: float, seed: int
) -> Iterator[bool]:
    """Yields whether an injection changed an answer without a sign; without end."""
    order = torch.randperm(len(image), generator=torch.Generator().manual_seed(seed))
    device, draw = next(model.parameters()).device, 0
    while True:
        record, row = damage(model, severity, seed + draw), order[draw % len(order)]
        shown = image[row : row + 1].to(device)
        state = with_aliases(model, record.damaged(model.state_dict()))
        answer = answered_with(model, state, shown)
        yield bool(SilentErrors(model(shown))(answer)["sdc"])
        draw += 1
