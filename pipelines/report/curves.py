"""Numbers against severity: one figure for every unit and number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from callbacks.family import Curve
from callbacks.results import unit_sign, unit_slug
from callbacks.words import radius
from pipelines.report.figures import COLOURS, INK, LOOK, SOFT, drawn

_MANY_LINES = 6
_ORDERS = 20
"""From this ratio of the largest to the smallest severity on they stand on a logarithmic axis."""
_HUGE_LOSS = 1000
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
        band: draw the 95 % interval.
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
    if lines > _MANY_LINES:
        figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    else:
        axes.legend(fontsize=9)


def _places(lines: Sequence[Line]) -> dict[str, str]:
    """Names of severities that are places, by the text of their step."""
    return {place: name for line in lines for place, name in line.curve.places.items()}


def _set_scales(axes: Axes, lines: Sequence[Line]) -> None:
    """Severities, and losses, of several orders of magnitude stand at equal distances."""
    values = sorted({value for line in lines for value in line.curve.table["value"] if value > 0})
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
    aggregate = line.curve.aggregate
    look: dict[str, Any] = {
        "color": line.colour, "linestyle": line.style, "alpha": 0.2 if aggregate else 1.0,
        "linewidth": 7 if aggregate else 1.8, "marker": None if aggregate else "o",
        "markersize": 3.5, "label": line.curve.label,
    }  # fmt: skip
    if not _has(line.curve, quantity):
        axes.plot([], [], **look)
        return
    table = line.curve.table.dropna(subset=[quantity.column])
    ends = (f"{quantity.column}_low", f"{quantity.column}_high")
    columns = [list(table[name]) for name in ("value", quantity.column, *ends)]
    start = line.curve.start.get(quantity.start, math.nan)
    if math.isfinite(start) and columns[0][0] > 0:
        columns = [[0.0, *columns[0]], *([start, *column] for column in columns[1:])]
    value, (middle, low, high) = columns[0], _scaled(columns[1:], quantity.scale)
    axes.plot(value, middle, **look)
    if line.band and not aggregate:
        axes.fill_between(value, low, high, color=line.colour, alpha=0.16, linewidth=0)


def _scaled(columns: Sequence[Sequence[float]], scale: float) -> list[list[float]]:
    return [[scale * number for number in column] for column in columns]


def _mark_chance(axes: Axes, classes: int) -> None:
    chance = 100 / classes
    axes.axhline(chance, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        "chance", (0, chance), (4, 2), ("axes fraction", "data"), "offset points",
        ha="left", va="bottom", fontsize=8, color=SOFT,
    )  # fmt: skip


def _name_severities(axes: Axes, lines: Sequence[Line], unit: str) -> None:
    """Writes radii of whole grey levels as k/255, where the field thinks in them."""
    values = sorted({value for line in lines for value in line.curve.table["value"]})
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
