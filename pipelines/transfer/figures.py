"""Figures of a matrix, one a data set: accuracy, learning curves, and drift by layer."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.report.figures import COLOURS, LOOK, SOFT, drawn
from pipelines.transfer.grid import Grid, Key
from pipelines.transfer.recipe import MODES

_ORDER = list(MODES)


def accuracy_figures(grid: Grid) -> dict[str, Figure]:
    """Accuracy with its interval, by mode; of several models, by model and mode."""
    several = len(grid.models) > 1
    figures = {}
    for task in grid.tasks:
        table = pd.DataFrame([line for line in grid.last("comparison") if line["data"] == task])
        if len(table):
            names = table["model"] + (", " + table["mode"] if several else "")
            table = table.assign(name=names if several else table["mode"])
            figures[f"accuracy_{task}"] = _accuracy(table.iloc[::-1], task)
    return figures


def learning_figures(grid: Grid) -> dict[str, Figure]:
    """Accuracy against labelled images, of one model and several fractions."""
    if len(grid.fractions) < 2 or not len(grid.comparison):
        return {}
    figures = {}
    for task in grid.tasks:
        figure, axes = drawn()
        with mpl.rc_context(LOOK):
            _learning(axes, grid.comparison.loc[grid.comparison["data"] == task])
            _carried_on(axes, grid, task)
            axes.set(title=f"{task}: accuracy by labelled images", ylim=(-2, 102))
            axes.set(xlabel="labelled images", ylabel="correct (%)")
            axes.legend(fontsize=9)
        figures[f"learning_{task}"] = figure
    return figures


def drift_figures(grid: Grid) -> dict[str, Figure]:
    """Similarity of each block to what it was, of one model at its last fraction."""
    figures = {}
    for task in grid.tasks:
        keys = {mode: Key(grid.models[0], task, mode, grid.fractions[-1]) for mode in _ORDER}
        cells = {mode: grid.cells_by_key.get(key, []) for mode, key in keys.items()}
        tables = {
            m: [o.similarity for o in outcomes if o.similarity] for m, outcomes in cells.items()
        }
        curves = {mode: pd.DataFrame(table).mean() for mode, table in tables.items() if table}
        if curves:
            figure, axes = drawn()
            with mpl.rc_context(LOOK):
                _drift(axes, curves)
                axes.set(title=f"{task}: similarity to before", ylim=(-0.05, 1.05))
                axes.set_ylabel("linear CKA, before / after")
                axes.legend(fontsize=9)
            figures[f"drift_{task}"] = figure
    return figures


def _accuracy(table: pd.DataFrame, task: str) -> Figure:
    figure, axes = drawn(height=1.1 + 0.28 * len(table))
    with mpl.rc_context(LOOK):
        for place, (value, low, high, mode) in enumerate(
            zip(*(table[name] for name in ("acc", "acc_low", "acc_high", "mode")), strict=True)
        ):
            colour = _colour(mode)
            axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.8)
            axes.plot([100 * value], [place], color=colour, marker="o", markersize=5)
        axes.set_yticks(range(len(table)), list(table["name"]))
        axes.set(title=f"{task}: accuracy", xlabel="correct (%)", ylim=(-0.6, len(table) - 0.4))
    return figure


def _learning(axes: Axes, table: pd.DataFrame) -> None:
    """Points a little beside each other, so that equal ones do not hide one another."""
    for i, mode in enumerate(_ORDER):
        lines = table.loc[table["mode"] == mode].sort_values(by="samples")
        if mode == "untouched" and len(lines):
            axes.axhline(100 * lines["acc"].iloc[0], **{**_look(mode), "marker": None})
        elif len(lines):
            ends = [abs(lines[end] - lines["acc"]) for end in ("acc_low", "acc_high")]
            place = lines["samples"] * 1.04 ** (i - len(_ORDER) / 2)  # on a logarithmic axis
            bars = [100 * end for end in ends]
            axes.errorbar(place, 100 * lines["acc"], bars, fmt="o", capsize=2, **_look(mode))
    axes.set_xscale("log")
    samples = sorted(set(table.loc[table["samples"] > 0, "samples"]))
    axes.set_xticks(samples, [f"{n:,.0f}" for n in samples])
    axes.minorticks_off()


def _carried_on(axes: Axes, grid: Grid, task: str) -> None:
    """The fitted power laws, dotted, to ten times what was measured; and what is wanted of them."""
    fitted = {key.mode: x.curve for key, x in grid.curves.items() if key.data == task and x.curve}
    if not fitted:
        return
    measured = grid.comparison.loc[grid.comparison["data"] == task, "samples"]
    samples = np.geomspace(measured[measured > 0].min(), 10 * measured.max(), 60)
    for mode, curve in fitted.items():
        correct = 100 * (1 - np.asarray(curve.error(samples)))
        axes.plot(samples, correct, color=_colour(mode), linestyle=":", linewidth=1.2)
    axes.axhline(100 * grid.wanted, color=SOFT, linewidth=0.8)
    axes.annotate(f"wanted {100 * grid.wanted:g} %", (samples[0], 100 * grid.wanted), fontsize=8)


def _drift(axes: Axes, curves: Mapping[str, pd.Series]) -> None:
    """Points a little beside each other, so that equal ones do not hide one another."""
    names = [str(name) for name in next(iter(curves.values())).index]
    for i, (mode, curve) in enumerate(curves.items()):
        place = np.arange(len(names)) + 0.07 * (i - (len(curves) - 1) / 2)
        axes.plot(place, curve, **_look(mode))
    step = max(1, len(names) // 6)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=35, ha="right", fontsize=8)


def _look(mode: str) -> dict[str, Any]:
    """Of a line; the later ones are dashed, so that what lies under them is seen."""
    style = {"untouched": "--", "staged": "-.", "full": (0, (4, 2))}.get(mode, "-")
    look = {"color": _colour(mode), "linestyle": style, "linewidth": 1.8}
    marker = "oD^"[max(0, _ORDER.index(mode) - 1) // len(COLOURS)]  # there are fewer colours
    return {**look, "label": mode, "marker": marker, "markersize": 3.5}


def _colour(mode: str) -> str:
    return COLOURS[(_ORDER.index(mode) - 1) % len(COLOURS)]
