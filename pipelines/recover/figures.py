"""Curves over severity and training steps.

Figures come by name; `prefix` is what names of one model, or one damage of it, begin with.
"""

import json
from dataclasses import replace

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Curve
from callbacks.results import records
from pipelines.recover.damages import unit_of
from pipelines.recover.table import groups, strategy_title
from pipelines.report.curves import THIN, Line, add_legend, curve_figures, panels
from pipelines.report.figures import COLOURS, INK, LOOK, SOFT, drawn

_STYLES = ("-", "--", ":")
_UNIT_DOWNWARDS = "bits left"
"""The one unit of which less is worse, and 0 is not undamaged."""
_REPAIR = ["strategy", "optimizer"]
_AS_CURVE = {"severity": "value"} | {
    f"loss{end}": f"worst_loss{end}" for end in ("", "_low", "_high")
}
_AS_DRAW = {"severity": "value", "acc_repaired": "acc", "loss_repaired": "worst_loss"}
"""What a figure over severity calls the columns of lines, and of rows."""


def severity_curves(
    rows: pd.DataFrame, lines: pd.DataFrame, best: str, classes: int, prefix: str
) -> dict[str, Figure]:
    """Accuracy and loss against severity of one damage; a repair is the mean of its draws.

    Nothing and the best repair have 95 % intervals and their single draws behind them; of several
    draws a panel for each repair shows the same.

    Args:
        rows: of the damage, as `assessed` makes them.
        lines: of the damage.
        best: strategy that is recommended.
        classes: how many, for the line of chance.
        prefix: of the figures' names.
    """
    usable = groups(pd.DataFrame(lines[lines["status"] == "ok"]), _REPAIR)
    whole = [_line(rows, part, place) for place, (_, part) in enumerate(usable)]
    told = [
        line if key["strategy"] in ("nothing", best) else replace(line, band=False)
        for line, (key, _) in zip(whole, usable, strict=True)
    ]
    figures = curve_figures(prefix, told, classes)
    idle, *repairs = whole
    if rows["seed"].nunique() > 1 and repairs:
        figures[f"{prefix}_draws"] = panels("Every draw of every repair", repairs, idle)
    if idle.curve.unit == _UNIT_DOWNWARDS:
        for figure in figures.values():
            figure.axes[0].invert_xaxis()
    return figures


def training_curves(rows: pd.DataFrame, prefix: str) -> dict[str, Figure]:
    """Accuracy against training steps of one damage, a figure a severity: means and draws.

    Args:
        rows: from `assessed`.
        prefix: of the figures' names.
    """
    is_trained = rows["curve"].map(lambda curve: len(json.loads(curve)) > 1)
    trained = pd.DataFrame(rows[is_trained & (rows["status"] == "ok")])
    return {
        f"{prefix}_{key['severity']:g}_steps": _training_curve(part, key["severity"])
        for key, part in groups(trained, ["severity"])
    }


def _line(rows: pd.DataFrame, lines: pd.DataFrame, place: int) -> Line:
    """The mean of a repair, with its interval and with the curves that it is the mean of."""
    (line, *_), unit = records(lines), unit_of(str(lines["damage"].iloc[0]))
    before = {"correct": line["acc_original"], "loss": line["loss_original"]}
    start = {} if unit == _UNIT_DOWNWARDS else before
    table = lines.rename(columns=_AS_CURVE).sort_values("value")
    is_own = (rows["strategy"] == line["strategy"]) & (rows["optimizer"] == line["optimizer"])
    own = pd.DataFrame(rows[is_own]).rename(columns=_AS_DRAW).sort_values("value")
    draws = [draw for _, draw in own.groupby(["seed", "training_seed"])]
    draws = draws if len(draws) > 1 else []
    colour, style = _look(place - 1) if line["strategy"] != "nothing" else (INK, "-")
    return Line(Curve(strategy_title(line), unit, table, start, draws=draws), colour, style)


def _training_curve(rows: pd.DataFrame, severity: float) -> Figure:
    parts = groups(rows, _REPAIR)
    figure, axes = drawn(height=3.5 + 0.1 * len(parts))
    with mpl.rc_context(LOOK):
        for place, (key, part) in enumerate(parts):
            colour, style = _look(place)
            curves = [pd.DataFrame(json.loads(curve)) for curve in part["curve"]]
            for curve in curves if len(curves) > 1 else []:
                axes.plot(curve["step"], 100 * curve["acc"], color=colour, **THIN)
            mean = pd.DataFrame(pd.concat(curves).groupby("step", as_index=False)["acc"].mean())
            axes.plot(
                mean["step"], 100 * mean["acc"], color=colour, linestyle=style, marker="o",
                markersize=3.5, label=strategy_title(key),
            )  # fmt: skip
        original = 100 * rows["curve_original"].iloc[0]  # on the images of the curves
        axes.axhline(original, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set(title=f"The way back from {severity:g}", xlabel="optimizer step")
        axes.set(ylabel="correct (%)", xscale="symlog", ylim=(-2, 102))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        add_legend(figure, axes, len(parts))
    return figure


def _look(place: int) -> tuple[str, str]:
    """Colour and style of a line."""
    return COLOURS[place % len(COLOURS)], _STYLES[place // len(COLOURS) % len(_STYLES)]
