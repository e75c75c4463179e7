"""What adaptations and their controls change, in one table of colours."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from callbacks.adaptation.gains import Gains

_FULL = 20.0
"""Points from which on colours do not deepen."""


def gain_map(gains: Sequence[Gains]) -> Figure:
    """Points of accuracy gained or lost: adaptations and controls by cells.

    Args:
        gains: on the same cells.
    """
    cells = gains[0].cells
    points = 100 * np.array([[one.of_cell(i).value for i in range(len(cells))] for one in gains])
    figure = Figure(figsize=(4.2 + 0.62 * len(cells), 1.9 + 0.34 * len(gains)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.pcolormesh(points, cmap="PuOr", vmin=-_FULL, vmax=_FULL, edgecolors="white", linewidth=1)
    for (row, column), value in np.ndenumerate(points):
        star = "*" if gains[row].significant[column] else ""
        ink = "white" if abs(value) > 0.8 * _FULL else "black"
        at = {"ha": "center", "va": "center", "fontsize": 8, "color": ink}
        axes.text(column + 0.5, row + 0.5, f"{value:+.1f}{star}", **at)
    axes.set_yticks(np.arange(len(gains)) + 0.5, [one.result.title for one in gains], fontsize=8)
    axes.set_xticks(np.arange(len(cells)) + 0.5, cells, rotation=40, ha="right", fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    title = "Points of accuracy against the network as it is (* McNemar, Holm over cells)"
    axes.set_title(title, fontsize=9)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
