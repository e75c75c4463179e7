"""The front of clean and robust accuracy over the values of a weight."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pipelines.fine_tune.front import Point, in_front
from pipelines.report.figures import COLOURS, INK, LOOK, SOFT, drawn


def front_figure(points: Sequence[Point], option: str, ball: str, taken: float) -> Figure:
    """Draws robust against clean accuracy, each value with both intervals.

    Args:
        points: at least one.
        option: the weight.
        ball: what robust accuracy is about.
        taken: the value that was chosen, with a ring.
    """
    clean, robust = (
        100 * np.array([point.of(name) for point in points]) for name in ("clean", "robust")
    )
    front = in_front(points)
    figure, axes = drawn(height=4.2)
    with mpl.rc_context(LOOK):
        kept = sorted((i for i, held in enumerate(front) if held), key=lambda i: clean[i, 0])
        axes.plot(clean[kept, 0], robust[kept, 0], color=SOFT, linewidth=1, alpha=0.6)
        for i, point in enumerate(points):
            colour = COLOURS[0] if front[i] else COLOURS[5]
            axes.errorbar(
                clean[i, 0], robust[i, 0], _arms(robust[i]), _arms(clean[i]),
                fmt="o" if front[i] else "x", color=colour, markersize=6, elinewidth=0.8, alpha=0.9,
            )  # fmt: skip
            axes.annotate(f"{point.value:g}", (clean[i, 0], robust[i, 0]), (6, 5),
                          textcoords="offset points", color=INK, fontsize=9)  # fmt: skip
            if point.value == taken:
                ring = {"fillstyle": "none", "markersize": 13, "markeredgewidth": 1.5}
                look: Any = {**ring, "color": COLOURS[1], "label": f"chosen: {taken:g}"}
                axes.plot(clean[i, 0], robust[i, 0], "o", **look)
        axes.set(title=f"Clean and robust accuracy by {option}")
        axes.set(xlabel="correct undisturbed (%)", ylabel=f"correct under {ball} (%)")
        axes.margins(0.12)
        axes.legend(fontsize=9)
    return figure


def _arms(interval: np.ndarray) -> list[list[float]]:
    """How far an error bar reaches down and up."""
    value, low, high = interval
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]
