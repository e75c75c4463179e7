"""A table of shares in colours: disturbances by severities."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from callbacks.words import percent


def share_map(
    share: np.ndarray, lines: Sequence[str], columns: Sequence[str], title: str, unit: str
) -> Figure:
    """A share of every line and column, as a coloured table in per cent.

    Args:
        share: `(lines, columns)` in [0, 1].
        lines: their names.
        columns: theirs.
        title: what the share is of.
        unit: of the columns.
    """
    figure = Figure(figsize=(1.9 + 0.75 * len(columns), 1 + 0.26 * len(lines)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    axes.pcolormesh(share, cmap="Oranges", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for (row, column), value in np.ndenumerate(share):
        ink = "white" if value > 0.65 else "black"
        axes.text(
            column + 0.5, row + 0.5, percent(value), color=ink, ha="center", va="center", fontsize=8
        )
    axes.set_yticks(np.arange(len(lines)) + 0.5, lines, fontsize=9)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set(title=f"{title} (%)", xlabel=unit)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
