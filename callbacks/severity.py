"""Accuracy, loss and calibration over severity, on average over disturbances."""

import math

import numpy as np
import pandas as pd

from callbacks.grid import Grid, finite_mean
from callbacks.statistics import Interval, half_severity, marks, mean, over_draws


def by_severity(grid: Grid, name: str) -> pd.DataFrame:
    """One line a severity, as `by_setting` makes them, of the mean over disturbances.

    Args:
        grid: of a family's results.
        name: of the mean's curve in metric keys.
    """
    cells = {name: finite_mean(grid.cells(name), 0) for name in ("correct", "loss", "brier")}
    lines = []
    for place, (step, severity) in enumerate(zip(grid.steps, grid.severities, strict=True)):
        loss = mean(cells["loss"][place], bounds=(0, math.inf))
        numbers = {
            "acc": mean(cells["correct"][place], bounds=(0, 1)),
            "loss": loss,
            "worst_loss": loss,
            "ece": mean_of_cells(grid, "ece", severity),
            "brier": mean(cells["brier"][place], bounds=(0, 2)),
            "error_auroc": mean_of_cells(grid, "error_auroc", severity),
        }
        line = {"setting": name, "severity": step, "value": severity, "n": len(grid.images)}
        for name, interval in numbers.items():
            line |= interval.columns(name)
        lines.append({**line, "marks": marks(numbers)})
    return pd.DataFrame(lines)


def mean_of_cells(grid: Grid, column: str, severity: float | None = None) -> Interval:
    """Mean of a number that is none of single images, over cells that share their images."""
    lines = pd.concat([result.table for result in grid.results])
    kept = lines["value"].isin(grid.severities if severity is None else [severity])
    ends = lines.loc[kept, [column, f"{column}_low", f"{column}_high"]]
    cells = [Interval(*line) for line in ends.itertuples(index=False)]
    over_cells = over_draws(cells)
    low, high = np.clip(over_cells[1:], 0, 1).tolist()  # no such number lies outside
    return Interval(over_cells.value, low, high).marked(over_cells.mark)


def half_of(table: pd.DataFrame, start: dict[str, float]) -> Interval | None:
    """The severity at which half of the undisturbed accuracy is gone; see `half_severity`.

    Args:
        table: one line a severity, ascending.
        start: undisturbed `correct` on the same images; nothing where it is not known.
    """
    if not start:
        return None
    clean = start["correct"]
    lines = table[["acc", "acc_low", "acc_high"]].itertuples(index=False)
    # Severity 0, the identity, is a measured point.
    points = [Interval(clean, clean, clean), *(Interval(*line) for line in lines)]
    return half_severity([0.0, *table["value"]], points, clean)
