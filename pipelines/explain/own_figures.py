"""Pictures of own images: maps with colour bars and captions, layers, units."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.words import number
from pipelines.explain.own_layer import LayerMaps, MaximisedUnit
from pipelines.report.figures import SOFT

_COLUMNS, _SIZE = 4, 2.6
"""Pictures in a line, and inches of each."""


def maps_figure(
    image: np.ndarray, title: str, maps: dict[str, np.ndarray], captions: dict[str, str]
) -> Figure:
    """An image, and each map of it with its own scale.

    Args:
        image: `(H, W, C)` uint8.
        title: over everything.
        maps: `(H, W)` by the title of the method.
        captions: under each map.
    """
    figure, axes = _panels(1 + len(maps), title)
    _show(axes[0], image, "image shown to the model")
    for axis, (name, saliency) in zip(axes[1:], maps.items(), strict=False):
        shown = axis.imshow(saliency, **map_scale(saliency))
        _show(axis, None, name, captions[name])
        _bar(figure, axis, shown)
    return figure


def layer_figure(image: np.ndarray, title: str, layer: LayerMaps) -> Figure:
    """An image, and channels of a layer on one scale."""
    some = layer.maps if len(layer.maps) == len(layer.channels) else layer.maps[layer.channels]
    height, width = layer.maps.shape[1:]
    figure, axes = _panels(1 + len(some), f"{title}\n{layer.layer}: {height}x{width}")
    _show(axes[0], image, "image shown to the model")
    look: dict[str, Any] = {"cmap": "magma", "vmin": float(some.min()), "vmax": float(some.max())}
    for axis, channel, maps in zip(axes[1:], layer.channels, some, strict=False):
        shown = axis.imshow(maps, **look)
        _show(axis, None, f"channel {channel}", f"mean {number(float(maps.mean()))}")
        _bar(figure, axis, shown)
    return figure


def unit_figure(unit: MaximisedUnit) -> Figure:
    """The maximised image of a unit."""
    figure, axes = _panels(1, f"{unit.layer}, unit {unit.unit}")
    caption = f"activation {number(unit.activation)}\nof your images {number(unit.own)} at most"
    _show(axes[0], unit.image, "maximised from noise", caption)
    return figure


def map_scale(saliency: np.ndarray) -> dict[str, Any]:
    """Colours of a map: both ways from 0, or from 0 up where nothing can speak against a class."""
    end = float(np.quantile(np.abs(saliency), 0.995)) or float(np.abs(saliency).max()) or 1.0
    if saliency.min() >= 0:
        return {"cmap": "Reds", "vmin": 0.0, "vmax": end}
    return {"cmap": "RdBu_r", "vmin": -end, "vmax": end}


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS)
    lines = -(-count // columns)
    figure = Figure((_SIZE * columns, (_SIZE + 0.35) * lines + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    axes = [figure.add_subplot(lines, columns, i + 1) for i in range(count)]
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    return figure, axes


def _show(axis: Axes, image: np.ndarray | None, title: str, caption: str = "") -> None:
    if image is not None:
        axis.imshow(np.broadcast_to(image, (*image.shape[:2], 3)))
    axis.set_title(title, fontsize=9, fontweight="normal", loc="center")
    axis.set_xlabel(caption, fontsize=7.5, color=SOFT)


def _bar(figure: Figure, axis: Axes, shown: Any) -> None:
    bar = figure.colorbar(shown, ax=axis, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=6.5)
    bar.ax.ticklabel_format(scilimits=(-2, 3))
    bar.ax.yaxis.get_offset_text().set_fontsize(6.5)
