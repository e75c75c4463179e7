"""Figures that hold pictures: galleries, units, feature maps, and the agreement of methods."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from pipelines.report.figures import COLOURS, GRID, INK, SOFT, drawn, save_png

_DPI = 150
"""Of `save_png`."""


def gallery_figure(
    images: np.ndarray, maps: np.ndarray, captions: Mapping[str, Sequence[str]],
    titles: Sequence[str], width: float = 1.45,
) -> Figure:  # fmt: skip
    """Images with the map of every method beside them.

    Args:
        images: `(n, H, W, C)` uint8.
        maps: `(M, n, H, W)`, in the order of the captions.
        captions: under every map, by method.
        titles: over each image.
        width: of a picture, in inches.
    """
    figure, grid = _grid(len(images), 1 + len(maps), width, width + 0.27)
    for i, image in enumerate(images):
        _photograph(grid[i, 0], image)
        grid[i, 0].set_title(titles[i], fontsize=8, loc="center", fontweight="normal")
        for axes, saliency, (name, texts) in zip(
            grid[i, 1:], maps[:, i], captions.items(), strict=True
        ):
            top = float(np.quantile(np.abs(saliency), 0.99)) or 1.0
            axes.imshow(saliency, cmap="RdBu_r", vmin=-top, vmax=top)
            axes.set_xlabel(texts[i], fontsize=7.5, color=SOFT)
            if i == 0:
                axes.set_title(name, fontsize=8, loc="center", fontweight="normal")
    for axes in grid.flat:
        for side in axes.spines.values():
            side.set_visible(True)
            side.set_color(GRID)
    return figure


def agreement_figure(names: Sequence[str], same: np.ndarray) -> Figure:
    """Rank correlation `(M, M)` in [-1, 1] of the maps of any two methods."""
    n = len(names)
    figure, axes = drawn(2.2 + 0.36 * n, 1.6 + 0.34 * n)
    axes.imshow(same, cmap="RdBu_r", vmin=-1, vmax=1)
    labels = [name.replace("_", " ") for name in names]
    axes.set_xticks(range(n), labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(n), labels, fontsize=8)
    for i, row in enumerate(same):
        for j, value in enumerate(row):
            text, ink = f"{round(value, 1) + 0:.1f}", "white" if abs(value) > 0.6 else INK
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=ink)
    axes.grid(False)
    axes.set_title("Rank correlation of methods")
    return figure


def unit_figure(layer: str, strips: np.ndarray, units: pd.DataFrame) -> Figure:
    """The maximised image of each unit beside its top images; under it both activations.

    Args:
        layer: name.
        strips: `(n, H, W', C)` uint8, pictures side by side.
        units: at least n lines, `channel activation natural beats`.
    """
    shown = len(strips)
    columns = min(3, shown)
    ratio = strips.shape[2] / strips.shape[1]
    figure, grid = _grid(-(-shown // columns), columns, ratio, 1.28, 1)
    title = f"Units of {layer.removeprefix('model.')}: maximised, and the images that excite most"
    top = 1 - 0.12 / figure.get_figheight()
    figure.suptitle(title, fontsize=11, x=0.01, y=top, ha="left", va="top")
    for axes in grid.flat[shown:]:
        axes.set_axis_off()
    lines = units.head(shown).itertuples(index=False)
    for axes, strip, (channel, activation, natural, beats) in zip(
        grid.flat[:shown], strips, lines, strict=True
    ):
        _photograph(axes, strip)
        sign, colour = ("✓", COLOURS[2]) if beats else ("✗", COLOURS[1])
        text = f"{sign} unit {channel}: {activation:.2g}, natural {natural:.2g}"
        axes.set_xlabel(text, fontsize=8, color=colour, labelpad=2)
    return figure


def feature_figure(
    channels: Mapping[str, Sequence[int]], arrays: Mapping[str, np.ndarray]
) -> Figure:
    """One image, and what the busiest channels of each layer make of it.

    Args:
        channels: numbers by layer.
        arrays: their maps `(K, h, w)` by layer, and the `image` `(H, W, C)` uint8.
    """
    columns = 1 + max(len(numbers) for numbers in channels.values())
    figure, grid = _grid(len(channels), columns, 1.3, 1.57)
    for row, (name, numbers) in zip(grid, channels.items(), strict=True):
        _photograph(row[0], arrays["image"])
        maps = arrays[name]
        height, width = maps.shape[1:]
        text = f"{name.removeprefix('model.')}, {height}x{width}"
        row[0].set_xlabel(text, fontsize=7.5, color=SOFT)
        for axes, number, channel in zip(row[1:], numbers, maps, strict=False):
            axes.imshow(channel, cmap="magma")
            axes.set_title(f"{number}", fontsize=8, loc="center", fontweight="normal")
        for axes in row[1 + len(numbers) :]:
            axes.set_axis_off()
    return figure


def pixels(figure: Figure) -> np.ndarray:
    """A figure as `(H, W, 3)` uint8, for what no table could draw again."""
    file = io.BytesIO()
    save_png(figure, file)
    return np.asarray(Image.open(file).convert("RGB"))


def picture(image: np.ndarray) -> Figure:
    """The figure that `pixels` was taken of, pixel for pixel."""
    height, width = image.shape[:2]
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, interpolation="none", aspect="auto")
    axes.set_axis_off()
    return figure


def _photograph(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))  # grey in three channels


def _grid(
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
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    return figure, grid
