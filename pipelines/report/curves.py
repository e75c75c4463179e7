"""Numbers against severity: one figure for every unit and number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callbacks.family import Curve
from callbacks.results import unit_sign, unit_slug
from callbacks.words import radius
from pipelines.report.figures import COLOURS, INK, LOOK, SOFT, drawn

_MANY_LINES = 6
_FEW_LINES = 4
"""Among more than these a legend covers some."""
_ORDERS = 20
"""From this ratio of the largest to the smallest severity on they stand on a logarithmic axis."""
_HUGE_LOSS = 1000
_ACROSS = 4
"""Panels in a row."""
THIN: Any = {"linewidth": 0.7, "alpha": 0.45}
"""How single draws look behind their mean."""
_MANY_PLACES = 20


@dataclass(frozen=True)
class _Quantity:
    """What a figure is about: column of a curve, column of its start, scale and words."""

    column: str
    start: str
    scale: float
    title: str
    axis: str


_QUANTITIES = {
    "acc": _Quantity("acc", "correct", 100, "Accuracy", "correct (%)"),
    "loss": _Quantity("worst_loss", "loss", 1, "Loss", "cross-entropy (nats)"),
}


@dataclass(frozen=True)
class Line:
    """A curve and how it is drawn.

    Args:
        curve: with its table.
        colour: of line and band.
        style: of the line.
        band: draw the 95 % interval, and the single draws.
    """

    curve: Curve
    colour: str
    style: Any = "-"
    band: bool = True


def curve_figures(prefix: str, lines: Sequence[Line], classes: int) -> dict[str, Figure]:
    """Draws accuracy and loss against severity, two figures for every unit.

    Args:
        prefix: of the figures' names, for instance the family.
        lines: of any units.
        classes: how many, for the line of chance.

    Returns:
        Figures by name; none where nothing was measured.
    """
    figures = {}
    for unit in dict.fromkeys(line.curve.unit for line in lines):
        alike = [line for line in lines if line.curve.unit == unit]
        for name, quantity in _QUANTITIES.items():
            if any(_has(line.curve, quantity) for line in alike):
                figure = _figure(alike, quantity, unit, classes)
                figures[f"{prefix}_{unit_slug(unit)}_{name}"] = figure
    return figures


def panels(title: str, lines: Sequence[Line], behind: Line) -> Figure:
    """Accuracy against severity, a panel a line, all on the same axes.

    Args:
        title: over them all.
        lines: of one unit.
        behind: what each of them is to be compared with.
    """
    down = math.ceil(len(lines) / _ACROSS)
    behind = replace(behind, colour=SOFT, style=(0, (2, 2)), band=False)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(11, 0.9 + 2 * down), layout="constrained")
        all_axes = figure.subplots(down, _ACROSS, sharex=True, sharey=True, squeeze=False)
        for axes, line in zip(all_axes.flat, lines, strict=False):
            for drawn_line in (behind, replace(line, style="-")):
                _draw(axes, drawn_line, _QUANTITIES["acc"])
            axes.set_title(line.curve.label, fontsize=9)
            axes.set_ylim(-2, 102)
        _set_scales(all_axes.flat[0], lines)
        for axes in all_axes.flat[len(lines) :]:
            axes.set_axis_off()
        named = f"{title}; dashed: {behind.curve.label.lower()}"
        figure.suptitle(named, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.supxlabel(behind.curve.unit, fontsize=10, color=SOFT)
        figure.supylabel(_QUANTITIES["acc"].axis, fontsize=10, color=SOFT)
    return figure


def coloured(curves: Sequence[Curve]) -> list[Line]:
    """Curves of one model: a colour each; what is made of the others lies behind them."""
    behind = [Line(curve, INK, band=False) for curve in curves if curve.aggregate]
    others = [curve for curve in curves if not curve.aggregate]
    return behind + [Line(curve, COLOURS[i % len(COLOURS)]) for i, curve in enumerate(others)]


def _has(curve: Curve, quantity: _Quantity) -> bool:
    return quantity.column in curve.table and bool(curve.table[quantity.column].notna().any())


def _figure(lines: Sequence[Line], quantity: _Quantity, unit: str, classes: int) -> Figure:
    many = len(lines) > _MANY_LINES
    figure, axes = drawn(height=3.5 + 0.1 * len(lines)) if many else drawn()
    with mpl.rc_context(LOOK):
        for line in lines:
            _draw(axes, line, quantity)
        axes.set(title=f"{quantity.title}, {unit_sign(unit)}", xlabel=unit, ylabel=quantity.axis)
        axes.margins(x=0.02)
        _set_scales(axes, lines)
        if quantity.column == "acc":
            axes.set_ylim(-2, 102)
            _mark_chance(axes, classes)
        _name_severities(axes, lines, unit)
        add_legend(figure, axes, len(lines))
    return figure


def add_legend(figure: Figure, axes: Axes, lines: int) -> None:
    """A legend among few lines, or below many, which it would hide."""
    if lines > _FEW_LINES:
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    else:
        axes.legend(fontsize=9)


def _places(lines: Sequence[Line]) -> dict[str, str]:
    """Names of severities that are places, by the text of their step."""
    return {place: name for line in lines for place, name in line.curve.places.items()}


def _severities(lines: Sequence[Line]) -> list[float]:
    """Those that were asked for, ascending; where there are stairs alone, none."""
    asked = [line.curve.table["value"] for line in lines if not line.curve.stairs]
    return sorted({float(value) for column in asked for value in column})


def _set_scales(axes: Axes, lines: Sequence[Line]) -> None:
    """Severities, and losses, of several orders of magnitude stand at equal distances."""
    values = [value for value in _severities(lines) if value > 0]
    if len(values) > 2 and values[-1] >= _ORDERS * values[0] and not _places(lines):
        axes.set_xscale("symlog", linthresh=values[0], linscale=0.5)
    if axes.get_ylim()[1] > _HUGE_LOSS:
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        top = round(math.log10(axes.get_ylim()[1]))
        axes.set_yticks([0, *(10.0**power for power in range(0, top + 1, max(1, top // 5)))])
        axes.yaxis.set_major_formatter(lambda x, _: f"{x:.0e}".replace("+", "") if x else "0")


def _draw(axes: Axes, line: Line, quantity: _Quantity) -> None:
    """Draws one curve, from the undisturbed number on the same samples where that is known."""
    aggregate, stairs = line.curve.aggregate, line.curve.stairs
    look: dict[str, Any] = {
        "color": line.colour, "linestyle": line.style, "alpha": 0.2 if aggregate else 1.0,
        "linewidth": 7 if aggregate else 1.8, "marker": None if aggregate or stairs else "o",
        "markersize": 3.5, "label": line.curve.label,
        "drawstyle": "steps-post" if stairs else "default",
    }  # fmt: skip
    if not _has(line.curve, quantity):
        axes.plot([], [], **look)
        return
    singles = [draw for draw in line.curve.draws if line.band and quantity.column in draw]
    for draw in singles:
        value, (single,) = _points(draw, [quantity.column], line.curve, quantity)
        axes.plot(value, single, color=line.colour, **THIN)
    ends = (f"{quantity.column}_low", f"{quantity.column}_high")
    columns = [quantity.column, *ends]
    value, (middle, low, high) = _points(line.curve.table, columns, line.curve, quantity)
    axes.plot(value, middle, **look)
    if line.band and not aggregate:
        step = "post" if stairs else None
        axes.fill_between(value, low, high, color=line.colour, alpha=0.16, linewidth=0, step=step)


def _points(
    table: pd.DataFrame, columns: Sequence[str], curve: Curve, quantity: _Quantity
) -> tuple[list[float], list[list[float]]]:
    """Severities, and columns in the unit of the axis, from the undisturbed number on."""
    table = table.dropna(subset=[quantity.column])
    value, numbers = list(table["value"]), [list(table[name]) for name in columns]
    start = curve.start.get(quantity.start, math.nan)
    if math.isfinite(start) and value and value[0] > 0:
        value, numbers = [0.0, *value], [[start, *column] for column in numbers]
    return value, [[quantity.scale * number for number in column] for column in numbers]


def _mark_chance(axes: Axes, classes: int) -> None:
    chance = 100 / classes
    axes.axhline(chance, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        "chance", (0, chance), (4, 2), ("axes fraction", "data"), "offset points",
        ha="left", va="bottom", fontsize=8, color=SOFT,
    )  # fmt: skip


def _name_severities(axes: Axes, lines: Sequence[Line], unit: str) -> None:
    """Writes radii of whole grey levels as k/255, where the field thinks in them."""
    values = _severities(lines)
    names: Mapping[float, str] = {value: radius(value, unit) for value in values}
    if places := _places(lines):
        said = [places.get(f"{value:g}", "") for value in values]
        size = 9 if len(values) < _MANY_PLACES else 6
        axes.set_xticks(values, said, rotation=40, ha="right", fontsize=size)
        return
    if axes.get_xscale() == "symlog":
        axes.set_xticks([0, *values], ["0", *names.values()])
        axes.minorticks_off()
    elif values and all(value == round(value) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif values and all("/" in name for name in names.values()):
        apart = [0.0]
        for value in values:
            if value - apart[-1] > 0.08 * values[-1]:
                apart.append(value)
        axes.set_xticks(apart, ["0", *(names[value] for value in apart[1:])])
