"""Pictures of a passport: learning curves, and drift by layer."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.report.figures import COLOURS, LOOK
from pipelines.transfer.recipe import MODES
from pipelines.transfer.result import Key, Matrix

_COLUMNS = 3


def passport_figures(matrix: Matrix, model: str) -> dict[str, Figure]:
    """Figures of one model by file name; none where there is nothing to draw."""
    found = {}
    if len(matrix.fractions) > 1:
        found["learning_curves"] = _panels(matrix, model, _curve, "labelled images", "correct (%)")
    if any(one.similarity for one in matrix.outcomes if one.cell.model == model):
        found["drift_by_layer"] = _panels(matrix, model, _drift, "", "linear CKA, before / after")
    return found


def _panels(matrix: Matrix, model: str, draw: Any, x: str, y: str) -> Figure:
    """A small figure a data set, with one legend."""
    tasks = matrix.tasks
    columns = min(len(tasks), _COLUMNS)
    rows = -(-len(tasks) // columns)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(0.6 + 3.4 * columns, 0.6 + 2.7 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
        for axes, task in zip(panels, tasks, strict=False):
            draw(axes, matrix, model, task)
            axes.set(title=task, xlabel=x)
            axes.title.set_fontsize(10)
        for axes in panels[len(tasks) :]:
            axes.set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel(y)
        lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
        named = {name: line for name, line in lines.items() if not str(name).startswith("_")}
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=6, fontsize=9)
    return figure


def _curve(axes: Axes, matrix: Matrix, model: str, task: str) -> None:
    table = matrix.comparison
    table = table.loc[(table["model"] == model) & (table["data"] == task)]
    for mode in MODES:
        mine = table.loc[table["mode"] == mode].sort_values(by="samples")
        look: Any = {"color": _colour(mode), "linewidth": 1.8}
        if mode == "untouched" and len(mine):
            axes.axhline(100 * mine["acc"].iloc[0], label=mode, linestyle="--", **look)
        elif len(mine):
            samples, low, high = mine["samples"], 100 * mine["acc_low"], 100 * mine["acc_high"]
            axes.plot(samples, 100 * mine["acc"], label=mode, marker="o", markersize=3.5, **look)
            axes.fill_between(samples, low, high, color=_colour(mode), alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    samples = sorted(set(table.loc[table["samples"] > 0, "samples"]))
    axes.set_xticks(samples, [f"{n:,.0f}" for n in samples])
    axes.minorticks_off()
    axes.set_ylim(-2, 102)


def _drift(axes: Axes, matrix: Matrix, model: str, task: str) -> None:
    names: list[str] = []
    for mode in MODES:
        keys = [Key(model, task, mode, fraction) for fraction in matrix.fractions]
        measured = [
            one.similarity
            for key in keys[-1:]
            for one in matrix.groups.get(key, [])
            if one.similarity
        ]
        if measured:
            names = list(measured[0])
            means = [np.nanmean([one[name] for one in measured]) for name in names]
            axes.plot(range(len(names)), means, label=mode, color=_colour(mode), marker="o",
                      markersize=3.5, linewidth=1.8)  # fmt: skip
    step = max(1, len(names) // 6)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=35, ha="right", fontsize=8)
    axes.set_ylim(-0.05, 1.05)


def _colour(mode: str) -> str:
    return COLOURS[(MODES.index(mode) - 1) % len(COLOURS)]
