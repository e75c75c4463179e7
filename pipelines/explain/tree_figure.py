"""A decision tree that can be read: questions from left to right, answers one under another."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callbacks.results import records
from callbacks.words import percent
from pipelines.report.figures import COLOURS, INK, SOFT

_COLUMN, _LINE = 2.6, 0.5
"""Inches for a question and for an answer."""


def tree_figure(nodes: pd.DataFrame) -> Figure:
    """Draws the nodes of a tree; a line is as wide as the share of samples that takes it.

    Args:
        nodes: `parent level question answer certain share`, each before those below it; of two
            children of a node the first one is reached by yes.
    """
    lines = records(nodes)
    height = _heights(nodes)
    size = ((1 + nodes["level"].max()) * _COLUMN, 0.7 + _LINE * (nodes["question"] == "").sum())
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.set_axis_off()
    axes.set_title("A tree in the network's place", x=0.01, y=1 - 0.3 / size[1], va="center")
    asked: set[int] = set()
    for i, line in enumerate(lines):
        left, top = 0.1 + line["level"] * _COLUMN, height[i]
        if (parent := line["parent"]) >= 0:
            start = (left - _COLUMN + 0.1, height[parent])
            bend = (left - 0.3, top)
            axes.plot(
                [start[0] + 1.7, bend[0] - 0.2, bend[0], left - 0.05],
                [start[1], top, top, top], color=COLOURS[0], alpha=0.5,
                linewidth=0.8 + 8 * line["share"], solid_capstyle="butt", zorder=1,
            )  # fmt: skip
            side = "no" if parent in asked else "yes"
            asked.add(parent)
            axes.text(bend[0], top - 0.06, side, fontsize=9, color=SOFT, ha="center", va="bottom")
        told = line["question"] or f"{line['answer']}, {percent(line['certain'], 0)} %"
        weight = "normal" if line["question"] else "bold"
        axes.text(left, top, told, fontsize=10, color=INK, va="center", weight=weight)
        axes.text(
            left, top + 0.17, f"{percent(line['share'], 0)} % of images", fontsize=8, color=SOFT,
            va="center",
        )  # fmt: skip
    return figure


def _heights(nodes: pd.DataFrame) -> list[float]:
    """Of every node: answers under one another, questions half-way between what hangs below."""
    height = np.full(len(nodes), np.nan)
    answers = np.flatnonzero(nodes["question"] == "")
    height[answers] = 0.8 + _LINE * np.arange(len(answers))
    parents = nodes["parent"].to_numpy()
    for i in range(len(nodes) - 1, -1, -1):
        if np.isnan(height[i]):
            height[i] = height[parents == i].mean()
    return height.tolist()
