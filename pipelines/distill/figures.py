"""Accuracy against size: what no other model is both smaller and better than."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.distill.comparison import ModelComparison
from pipelines.report.figures import COLOURS, LOOK, SOFT, drawn

_GAP = 0.03
"""Share of the axis between the bars of models of one size, so that none hides another."""


def comparison_figures(comparison: ModelComparison) -> dict[str, Figure]:
    """Draws the accuracy-size front, and the robustness-size front where attacks were run."""
    table = comparison.table
    figures = {"accuracy_size": _front(table, "acc", "Accuracy and size", "correct (%)")}
    if table["robust"].notna().any():
        title = f"Robust accuracy and size, {comparison.ball}"
        figures["robustness_size"] = _front(table, "robust", title, "correct under attack (%)")
    return figures


def front(size: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Positions of what is not dominated (no other at most as large and better), by size.

    Args:
        size: `(M,)`, smaller is better.
        value: `(M,)`, larger is better; NaN is never in front.
    """
    order = np.lexsort((-np.nan_to_num(value, nan=-np.inf), size))
    best, kept = -np.inf, []
    for i in order:
        if value[i] > best:
            best = value[i]
            kept.append(i)
    return np.array(kept, dtype=int)


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Moves values up until each differs from the next smaller one by at least `gap`."""
    moved = np.array(values, float)
    order = moved.argsort(kind="stable")
    for before, i in pairwise(order):
        moved[i] = max(moved[i], moved[before] + gap)
    return moved.tolist()


def _front(table: pd.DataFrame, column: str, title: str, axis: str) -> Figure:
    shown = table.dropna(subset=[column])
    size = shown["bytes"].to_numpy(float) / 1e6
    value, low, high = (
        100 * shown[name].to_numpy(float) for name in (column, f"{column}_low", f"{column}_high")
    )
    scale = np.log10(size)  # where all are of one size, the axis is taken for half a decade
    at = 10 ** np.array(apart(scale.tolist(), _GAP * max(float(np.ptp(scale)), 0.5)))
    kept = front(size, value)
    figure, axes = drawn(height=4.0)
    with mpl.rc_context(LOOK):
        axes.step(at[kept], value[kept], where="post", color=SOFT, linewidth=1, alpha=0.5)
        for i, name in enumerate(shown["model"]):
            bar = [[max(value[i] - low[i], 0)], [max(high[i] - value[i], 0)]]
            look: Any = {"color": COLOURS[i % len(COLOURS)], "capsize": 3, "markersize": 6}
            form = "o" if i in kept else "x"
            axes.errorbar(at[i], value[i], bar, fmt=form, label=name, **look)
        axes.set(title=title, xlabel="weights (MB)", ylabel=axis, xscale="log")
        axes.margins(x=0.15, y=0.15)
        ticks = _legible(sorted(set(size.tolist())))
        axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
        axes.minorticks_off()
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _legible(ticks: list[float]) -> list[float]:
    """Leaves out ticks whose names would overlap."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick > 1.4 * kept[-1]:
            kept.append(tick)
    return kept
