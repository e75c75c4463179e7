"""Figures that hold pictures: galleries, units, feature maps, and the agreement of methods.

All pictures of a figure are in one axes in inches: an axes for each would take seconds.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipelines.report.figures import COLOURS, GRID, SOFT, drawn

_MARGIN, _GAP, _BARS = 0.35, 0.1, 0.5
_MEANINGS = {
    "RdBu_r": (("against the class", "left"), ("0", "center"), ("for it", "right")),
    "Reds": (("0", "left"), ("the map's most", "right")),
    "magma": (("the channel's least", "left"), ("its most", "right")),
}
"""What the ends of each scale of colours mean."""


def gallery_figure(
    images: np.ndarray, maps: np.ndarray, captions: Mapping[str, Sequence[str]],
    titles: Sequence[str], size: float = 1.35,
) -> Figure:  # fmt: skip
    """Images with the map of every method beside them.

    Args:
        images: `(n, H, W, C)` uint8.
        maps: `(M, n, H, W)`, in the order of the captions.
        captions: under every map, by method.
        titles: over each image.
        size: of a picture, in inches.
    """
    step, line = size + _GAP, size + 0.37
    figure, axes = _canvas((1 + len(maps)) * step, len(images), line, _BARS)
    looks = [_scale(saliency) for saliency in maps.reshape(-1, *maps.shape[2:])]
    _colour_bars(axes, _MARGIN + len(images) * line, {look["cmap"] for look in looks})
    for i, image in enumerate(images):
        top = _MARGIN + i * line
        _show(axes, _grey(image), 0, top, (size, size), titles[i])
        for j, (name, texts) in enumerate(captions.items(), 1):
            look = _scale(maps[j - 1, i])
            title = "" if i else name
            _show(axes, maps[j - 1, i], j * step, top, (size, size), title, texts[i], **look)
    return figure


def _scale(saliency: np.ndarray) -> dict[str, Any]:
    """Colours of a map: both ways from 0, or from 0 up where nothing can speak against a class."""
    end = float(np.quantile(np.abs(saliency), 0.99)) or 1.0
    if saliency.min() >= 0:
        return {"cmap": "Reds", "vmin": 0.0, "vmax": end}
    return {"cmap": "RdBu_r", "vmin": -end, "vmax": end}


def _colour_bars(axes: Axes, top: float, used: Collection[str]) -> None:
    """What the colours of maps mean; each map is scaled by itself, to its 99th percentile."""
    ramp, width = np.linspace(0, 1, 256)[None], 2.6
    for i, cmap in enumerate(name for name in _MEANINGS if name in used):
        left, words = _GAP + i * (width + 0.6), _MEANINGS[cmap]
        extent = (left, left + width, top + 0.22, top + 0.1)
        axes.imshow(ramp, extent=extent, aspect="auto", cmap=cmap)
        places = np.linspace(left, left + width, len(words))
        for place, (word, side) in zip(places, words, strict=True):
            axes.text(place, top + 0.26, word, ha=side, va="top", fontsize=7.5, color=SOFT)


def agreement_figure(names: Sequence[str], same: np.ndarray) -> Figure:
    """Rank correlation `(M, M)` in [-1, 1] of the maps of any two methods."""
    n = len(names)
    figure, axes = drawn(2.2 + 0.36 * n, 1.6 + 0.34 * n)
    shown = axes.imshow(same, cmap="RdBu_r", vmin=-1, vmax=1)
    bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=8)
    labels = [name.replace("_", " ") for name in names]
    axes.set_xticks(range(n), labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(n), labels, fontsize=8)
    for i, row in enumerate(same):
        for j, value in enumerate(row):
            # Neither is a colour of the page: a cell stays as light or dark as it is.
            text, ink = f"{round(value, 1) + 0:.1f}", "white" if abs(value) > 0.6 else "black"
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)
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
    columns = min(3, len(strips))
    size = (strips.shape[2] / strips.shape[1], 1.0)
    step = size[0] + 3 * _GAP
    figure, axes = _canvas(columns * step, -(-len(strips) // columns), 1.28)
    title = f"Units of {layer.removeprefix('model.')}: maximised, and the images that excite most"
    axes.text(0, 0.12, title, fontsize=11, va="center")
    lines = units.head(len(strips)).itertuples(index=False)
    for i, (channel, activation, natural, beats) in enumerate(lines):
        sign, colour = ("✓", COLOURS[2]) if beats else ("✗", COLOURS[1])
        text = f"{sign} unit {channel}: {activation:.2g}, natural {natural:.2g}"
        top = _MARGIN + i // columns * 1.28
        _show(axes, _grey(strips[i]), i % columns * step, top, size, "", text, colour)
    return figure


def feature_figure(
    channels: Mapping[str, Sequence[int]], arrays: Mapping[str, np.ndarray]
) -> Figure:
    """One image, and what the busiest channels of each layer make of it.

    Args:
        channels: numbers by layer.
        arrays: their maps `(K, h, w)` by layer, and the `image` `(H, W, C)` uint8.
    """
    size, step = (1.2, 1.2), 1.2 + _GAP
    columns = 1 + max(len(numbers) for numbers in channels.values())
    figure, axes = _canvas(columns * step, len(channels), 1.57, _BARS)
    _colour_bars(axes, _MARGIN + 1.57 * len(channels), ["magma"])
    for i, (name, numbers) in enumerate(channels.items()):
        top, (height, width) = _MARGIN + 1.57 * i, arrays[name].shape[1:]
        caption = f"{name.removeprefix('model.')}, {height}x{width}"
        _show(axes, _grey(arrays["image"]), 0, top, size, "", caption)
        for j, (number, channel) in enumerate(zip(numbers, arrays[name], strict=True), 1):
            _show(axes, channel, j * step, top, size, f"{number}", cmap="magma")
    return figure


def _canvas(width: float, lines: int, height: float, foot: float = 0) -> tuple[Figure, Axes]:
    """An empty axes in inches from the upper left, for lines of a height under a margin."""
    size = (width, _MARGIN + lines * height + foot)
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    axes.set_axis_off()
    return figure, axes


def _show(
    axes: Axes, image: np.ndarray, left: float, top: float, size: tuple[float, float],
    title: str = "", caption: str = "", colour: str = SOFT, **look: Any,
) -> None:  # fmt: skip
    """A picture as large as a size allows, with its words over and under it."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = scale * image.shape[1], scale * image.shape[0]
    left += (_GAP + size[0] - width) / 2
    middle = left + width / 2
    axes.imshow(image, extent=(left, left + width, top + height, top), aspect="auto", **look)
    frame = Rectangle((left, top), width, height, fill=False, edgecolor=GRID, linewidth=0.8)
    axes.add_patch(frame)
    axes.text(middle, top - 0.04, title, ha="center", va="bottom", fontsize=8)
    below = top + height + 0.05
    axes.text(middle, below, caption, ha="center", va="top", fontsize=7.5, color=colour)


def _grey(image: np.ndarray) -> np.ndarray:
    """`(H, W, C)` of one or three channels as three."""
    return np.broadcast_to(image, (*image.shape[:2], 3))
