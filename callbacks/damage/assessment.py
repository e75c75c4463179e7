"""How well and how fast a damaged model came back."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from callbacks.statistics import Interval, student
from datamodules.errors import UserError


def accuracy_drop(original: float, damaged: float) -> float:
    """Relative accuracy drop (Hong et al., 1906.01017, 2019): the share that was lost."""
    return (original - damaged) / original if original else math.nan


def severity(original: float, damaged: float, chance: float) -> float:
    """What was lost of all that is above chance; 1 at chance level."""
    return (original - damaged) / (original - chance) if original != chance else math.nan


def recovery_ratio(
    original: float, damaged: float, repaired: float, drop_error: float = 0.0
) -> float | None:
    """What came back of what was lost; above 1 where the repair did better than before.

    Args:
        original: accuracy before the damage.
        damaged: after it.
        repaired: after the repair.
        drop_error: standard error of the drop, paired over images; NaN of a single one.

    Returns:
        None where the drop is below two standard errors (or none at all): inside the noise there is
        nothing to divide by.
    """
    drop = original - damaged
    if not (drop > 0 and drop >= 2 * drop_error):  # nor where the error is unknown
        return None
    return (repaired - damaged) / drop


def sustained_time(times: Sequence[float], accuracy: Sequence[float], level: float) -> float | None:
    """The first time from which on the accuracy never falls below a level again; None if never."""
    return _first(times, np.minimum.accumulate(np.asarray(accuracy)[::-1])[::-1], level)


def first_hit(times: Sequence[float], accuracy: Sequence[float], level: float) -> float | None:
    """The first time at which the accuracy reaches a level, whatever comes later."""
    return _first(times, np.asarray(accuracy), level)


def resilience_loss(
    times: Sequence[float],
    accuracy: Sequence[float],
    original: float,
    damaged: float | None = None,
) -> float:
    """Area between the original accuracy and the curve (Bruneau et al. 2003), by trapezoids.

    Args:
        times: ascending.
        accuracy: at those times.
        original: accuracy before the damage.
        damaged: after it; if given, the area is divided by (original - damaged) * duration, so that
            a model that never comes back scores 1.

    Raises:
        UserError: fewer than two points.
    """
    if len(times) < 2 or len(times) != len(accuracy):
        raise UserError(
            f"Expected at least two times, each with its accuracy, but got {len(times)} and "
            f"{len(accuracy)}."
        )
    lost, width = original - np.asarray(accuracy, float), np.diff(np.asarray(times, float))
    area = float(((lost[1:] + lost[:-1]) / 2 * width).sum())
    if damaged is None:
        return area
    whole = (original - damaged) * (times[-1] - times[0])
    return area / whole if whole else math.nan


def negative_flips(before: ArrayLike, after: ArrayLike) -> float:
    """Share of samples right before and wrong after (Yan et al., 2011.09161, 2021)."""
    return float((np.asarray(before, bool) & ~np.asarray(after, bool)).mean())


def agreement(before: ArrayLike, after: ArrayLike) -> float:
    """Share of samples with the same top answer before the damage and after the recovery."""
    return float((np.asarray(before) == np.asarray(after)).mean())


def retained(original: float, repaired: float) -> float:
    """Accuracy after the repair as a share of the original's."""
    return repaired / original if original else math.nan


def net_recovery(repaired: float, control: float) -> float:
    """Accuracy above that of the undamaged model after the same extra training."""
    return repaired - control


def over_seeds(numbers: Sequence[Sequence[float]], level: float = 0.95) -> Interval:
    """Mean over damage and training seeds, with Student's interval over damages.

    Training seeds are nested in damage seeds: the means of damages vary by both, so that theirs is
    the spread that counts, and trainings of one damage do not count as independent (Davison &
    Hinkley 1997, 3.8). With fewer than two damages there is no interval.

    Args:
        numbers: by damage seed, those of its training seeds; what is not finite is left out.
        level: of confidence.
    """
    groups = [np.asarray(group, float) for group in numbers]
    groups = [group[np.isfinite(group)] for group in groups]
    return student([group.mean() for group in groups if len(group)], level)


def _first(times: Sequence[float], accuracy: np.ndarray, level: float) -> float | None:
    reached = np.flatnonzero(accuracy >= level)
    return float(times[reached[0]]) if len(reached) else None
