"""Accuracy against size: what no other model of the audit is both smaller and better than."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.distill.result import Audit
from pipelines.report.figures import COLOURS, LOOK

_COLOURS = {"teacher": COLOURS[0], "student": COLOURS[1], "control": COLOURS[5]}
_GREY = COLOURS[5]


def audit_figures(audit: Audit) -> dict[str, Figure]:
    """Draws the accuracy-size front, and the robustness-size front where attacks were run."""
    table = audit.table
    found = {"accuracy_size": _front(table, "acc", "Accuracy and size", "correct (%)")}
    if table["robust"].notna().any():
        title = f"Robust accuracy and size, {audit.ball}"
        found["robustness_size"] = _front(table, "robust", title, "correct under attack (%)")
    return found


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


def _front(table: pd.DataFrame, column: str, title: str, axis: str) -> Figure:
    shown = table.dropna(subset=[column])
    size = shown["bytes"].to_numpy(float) / 1e6
    value, low, high = (
        100 * shown[name].to_numpy(float) for name in (column, f"{column}_low", f"{column}_high")
    )
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(5.6, 3.7), layout="constrained")
        axes = figure.subplots()
        kept = front(size, value)
        axes.step(size[kept], value[kept], where="post", color=_GREY, linewidth=1, alpha=0.5)
        for i, kind in enumerate(shown["kind"]):
            ends = [[max(value[i] - low[i], 0)], [max(high[i] - value[i], 0)]]
            look: Any = {"color": _COLOURS[kind], "capsize": 3, "markersize": 6}
            axes.errorbar(size[i], value[i], ends, fmt="o" if i in kept else "x", **look)
        axes.set(title=title, xlabel="weights (MB)", ylabel=axis, xscale="log")
        axes.margins(x=0.25, y=0.15)
        _name(axes, shown, size, value)
        ticks = sorted(set(size.tolist()))
        axes.set_xticks(_apart(ticks), [f"{tick:.2g}" for tick in _apart(ticks)])
        axes.minorticks_off()
    return figure


def _name(axes: Axes, shown: pd.DataFrame, size: np.ndarray, value: np.ndarray) -> None:
    """Writes names beside the points; those of about one size apart from each other."""
    low, high = axes.get_ylim()
    height = 0.062 * (high - low)  # of a line of text
    for group in _of_one_size(size):
        group = sorted(group, key=lambda i: value[i])
        at = spread([float(value[i]) for i in group], height)
        for i, y in zip(group, at, strict=True):  # a little above the line of the front
            axes.annotate(
                str(shown["model"].iloc[i]), (size[i], value[i]), (9, y + 0.6 * height),
                textcoords=("offset points", "data"), va="center", fontsize=9,
                color=_COLOURS[shown["kind"].iloc[i]],
            )  # fmt: skip


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Moves ascending values apart until neighbours differ by `gap`, around where they were."""
    made = list(values)
    for i in range(1, len(made)):
        made[i] = max(made[i], made[i - 1] + gap)
    shift = sum(m - v for m, v in zip(made, values, strict=True)) / max(len(made), 1)
    return [m - shift for m in made]


def _of_one_size(size: np.ndarray) -> list[list[int]]:
    """Groups positions whose sizes differ by less than a half from one to the next."""
    groups: list[list[int]] = []
    for i in size.argsort(kind="stable").tolist():
        if groups and size[i] < 1.5 * size[groups[-1][-1]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def _apart(ticks: list[float]) -> list[float]:
    """Leaves out ticks whose names would overlap."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick > 1.4 * kept[-1]:
            kept.append(tick)
    return kept
