"""Accuracy against size: what no other model of the audit is both smaller and better than."""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipelines.distillation.audit import Audit
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
        _name(axes, list(shown["model"]), size, value)
        axes.set(title=title, xlabel="weights (MB)", ylabel=axis, xscale="log")
        axes.margins(x=0.25, y=0.2)
        ticks = sorted(set(size.tolist()))
        axes.set_xticks(_apart(ticks), [f"{tick:.2g}" for tick in _apart(ticks)])
        axes.minorticks_off()
    return figure


def _name(axes: Any, names: list[str], size: np.ndarray, value: np.ndarray) -> None:
    """Writes names beside the points; those at one place in turn above, below and further."""
    span = max(float(np.ptp(value)), 1e-9)
    for i, name in enumerate(names):
        near = [
            j for j in range(i)
            if abs(np.log(size[i] / size[j])) < 0.5 and abs(value[i] - value[j]) < 0.15 * span
        ]  # fmt: skip
        offset = (7, 6) if not near else (7, -13 - 12 * (len(near) - 1))
        axes.annotate(name, (size[i], value[i]), offset, textcoords="offset points", fontsize=9)


def _apart(ticks: list[float]) -> list[float]:
    """Leaves out ticks whose names would overlap."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick > 1.4 * kept[-1]:
            kept.append(tick)
    return kept
