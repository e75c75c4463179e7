"""How many injections tell the rate of silent errors."""

from collections.abc import Iterable

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
