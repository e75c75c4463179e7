"""Figures that hold pictures: galleries, units, feature maps, and the agreement of methods."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pipelines.report.figures import COLOURS, GRID, INK, LOOK, SOFT, drawn


def gallery_figure(
    images: np.ndarray, maps: Mapping[str, np.ndarray], captions: Mapping[str, Sequence[str]],
    titles: Sequence[str], width: float = 1.45,
) -> Figure:  # fmt: skip
    """Images with the map of every method beside them.

    Args:
        images: `(n, H, W, C)` in [0, 1].
        maps: `(n, H, W)` by method.
        captions: under every map, by method.
        titles: over each image.
        width: of a picture, in inches.
    """
    columns, n = 1 + len(maps), len(images)
    with mpl.rc_context(LOOK):
        figure, grid = _sheet(n, columns, width, width + 0.27)
    for i, image in enumerate(images):
        look: Any = {"cmap": "gray", "vmin": 0, "vmax": 1} if image.shape[-1] == 1 else {}
        grid[i, 0].imshow(image.squeeze(), **look)
        grid[i, 0].set_title(titles[i], fontsize=8, loc="center", fontweight="normal")
        for j, (name, found) in enumerate(maps.items(), 1):
            top = float(np.quantile(np.abs(found[i]), 0.99)) or 1.0
            grid[i, j].imshow(found[i], cmap="RdBu_r", vmin=-top, vmax=top)
            grid[i, j].set_xlabel(captions[name][i], fontsize=7.5, color=SOFT)
            if i == 0:
                grid[i, j].set_title(name, fontsize=8, loc="center", fontweight="normal")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for side in axes.spines.values():
            side.set_visible(True)
            side.set_color(GRID)
    return figure


def agreement_figure(names: Sequence[str], same: np.ndarray) -> Figure:
    """Rank correlation of the maps of any two methods.

    Args:
        names: of the methods.
        same: `(M, M)` in [-1, 1].
    """
    n = len(names)
    figure, axes = drawn(2.2 + 0.36 * n, 1.6 + 0.34 * n)
    axes.imshow(same, cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [name.replace("_", " ") for name in names]
    axes.set_xticks(range(n), labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(n), labels, fontsize=8)
    for i, row in enumerate(same):
        for j, value in enumerate(row):
            ink = "white" if abs(value) > 0.6 else INK
            axes.annotate(
                f"{round(value, 1) + 0:.1f}",
                (j, i),
                ha="center",
                va="center",
                fontsize=7,
                color=ink,
            )
    axes.grid(False)
    axes.set_title("Rank correlation of methods")
    return figure


def unit_figure(
    layer: str, strips: np.ndarray, channels: Sequence[int], pairs: Sequence[tuple[float, float]],
    beats: Sequence[bool],
) -> Figure:  # fmt: skip
    """The maximised image of each unit beside its top images; under it both activations.

    Args:
        layer: name.
        strips: `(n, H, W', C)` in [0, 1], pictures side by side.
        channels: numbers of the units.
        pairs: activation, and the 99.9th percentile of natural ones.
        beats: the verdict.
    """
    shown = min(len(strips), 24)
    columns = min(3, shown)
    lines = -(-shown // columns)
    with mpl.rc_context(LOOK):
        ratio = strips.shape[2] / strips.shape[1]
        figure, grid = _sheet(lines, columns, ratio, 1.28, 1)
    title = f"Units of {layer.removeprefix('model.')}: maximised, and the images that excite most"
    top = 1 - 0.12 / figure.get_figheight()
    figure.suptitle(title, fontsize=11, x=0.01, y=top, ha="left", va="top")
    for i, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        axes.set_axis_on() if i < shown else axes.set_axis_off()
        if i < shown:
            look: Any = {"cmap": "gray", "vmin": 0, "vmax": 1} if strips.shape[-1] == 1 else {}
            axes.imshow(strips[i].squeeze(), **look)
            axes.grid(False)
            sign, colour = ("✓", COLOURS[2]) if beats[i] else ("✗", COLOURS[1])
            axes.set_xlabel(
                "{} unit {}: {:.2g}, natural {:.2g}".format(sign, channels[i], *pairs[i]),
                fontsize=8, color=colour, labelpad=2,
            )  # fmt: skip
    return figure


def feature_figure(image: np.ndarray, maps: Mapping[str, tuple[list[int], np.ndarray]]) -> Figure:
    """One image, and what the busiest channels of each layer make of it.

    Args:
        image: `(H, W, C)` in [0, 1].
        maps: by layer, the channels' numbers and their maps `(K, h, w)`.
    """
    columns = 1 + max(len(numbers) for numbers, _ in maps.values())
    with mpl.rc_context(LOOK):
        figure, grid = _sheet(len(maps), columns, 1.3, 1.57)
    for i, (name, (numbers, found)) in enumerate(maps.items()):
        for j, axes in enumerate(grid[i]):
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            if 0 < j <= len(numbers):
                axes.imshow(found[j - 1], cmap="magma")
                axes.set_title(f"{numbers[j - 1]}", fontsize=8, loc="center", fontweight="normal")
            elif j:
                axes.set_axis_off()
        look: Any = {"cmap": "gray", "vmin": 0, "vmax": 1} if image.shape[-1] == 1 else {}
        grid[i, 0].imshow(image.squeeze(), **look)
        height, width = found.shape[1:]
        grid[i, 0].set_xlabel(
            f"{name.removeprefix('model.')}, {height}x{width}", fontsize=7.5, color=SOFT
        )
    return figure


def _sheet(
    lines: int, columns: int, width: float, height: float, picture: float | None = None
) -> tuple[Figure, np.ndarray]:
    """A grid of pictures at fixed places: a solver for the layout would take seconds.

    Args:
        lines: of the grid.
        columns: of the grid.
        width: of a cell, in inches.
        height: of a cell with what is written over and under it.
        picture: height of the picture alone; None takes that of a square one.
    """
    top = 0.35
    figure = Figure(figsize=(width * columns, height * lines + top))
    room = {"left": 0.01, "right": 0.99, "top": 1 - 1.5 * top / figure.get_figheight()}
    free = 1 - (width - 0.1 if picture is None else picture) / height
    grid = figure.subplots(
        lines, columns, squeeze=False,
        gridspec_kw={**room, "bottom": 0.25 / figure.get_figheight(), "wspace": 0.06,
                     "hspace": free / (1 - free)},
    )  # fmt: skip
    return figure, grid
