"""Lines of the tables: what is counted up for a cell, and a choice between modes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from callbacks.statistics import Interval, paired_difference
from callbacks.transfer import performance
from pipelines.transfer.cell import Outcome

Line = dict[str, Any]
"""Of a table, by column name."""


def cell_line(outcome: Outcome, classes: int) -> Line:
    """Everything of one cell but its intervals."""
    line = {**outcome.transfer._asdict(), "status": outcome.status, "samples": outcome.samples}
    if outcome.status == "ok":
        numbers = performance([outcome.rows], classes, resamples=1)
        line |= {name: number.value for name, number in numbers.items()}
    line |= {name: getattr(outcome, name) for name in ("val_acc", "seconds", "strength")}
    return {**line, **means([outcome]), "error": outcome.error}


def means(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Distance, what was forgotten and accuracy under probes, averaged over seeds.

    Ends of intervals are averaged too: wider than the interval of the mean, as if the seeds erred
    on the same images.
    """
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        numbers = {"distance": outcome.distance, "learnt": float(outcome.learnt)}
        if outcome.similarity:
            numbers["cka_last"] = list(outcome.similarity.values())[-1]
        numbers |= {f"forgot_{k}": v for k, v in outcome.forgotten.items()}
        for probe, interval in outcome.robust.items():
            numbers |= Interval(*interval).columns(f"{probe}_acc")
        for name, value in numbers.items():
            values.setdefault(name, []).append(value)
    return {name: float(np.mean(column)) for name, column in values.items()}


def recommendation(hits: Mapping[str, np.ndarray]) -> Line | None:
    """The cheapest mode that no other surely beats, and by how much the best one beats it.

    Args:
        hits: `(N,)` share of seeds that got each test image right, by mode and growing cost.
    """
    best = max(hits, key=lambda mode: hits[mode].mean(), default="")
    for mode, right in hits.items():
        gain = paired_difference(right, hits[best])
        if gain.low <= 0:
            line = {"mode": mode, "acc": float(right.mean()), "best": "" if mode == best else best}
            return {**line, **gain.columns("gain")}
    return None


def columns_of(numbers: Mapping[str, Interval], prefix: str = "") -> dict[str, float]:
    """`acc acc_low acc_high` of an interval named `acc`."""
    return {
        column: value
        for name, number in numbers.items()
        for column, value in number.columns(f"{prefix}{name}").items()
    }


def interval_of(line: Mapping[str, Any], name: str) -> Interval:
    """A number of a line with its ends; NaN where the line has none."""
    return Interval(*(float(line.get(f"{name}{end}", np.nan)) for end in ("", "_low", "_high")))
