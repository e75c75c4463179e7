"""Maps of what came back and what it cost, and curves over severity and training steps.

Figures come by name; `prefix` is what names of one model, or one damage of it, begin with.
"""

import json
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from callbacks.family import Curve
from callbacks.results import records
from callbacks.words import number
from lightning_modules import Tuning
from pipelines.recover.damages import title_of, unit_of
from pipelines.recover.strategies import strategy_named
from pipelines.recover.table import damages_of, groups
from pipelines.report.curves import Line, add_legend, curve_figures
from pipelines.report.figures import COLOURS, INK, LOOK, SOFT, drawn

_STYLES = ("-", "--", ":")
_UNIT_DOWNWARDS = "bits left"
"""The one unit of which less is worse, and 0 is not undamaged."""


def maps(lines: pd.DataFrame, prefix: str, named: bool = False) -> dict[str, Figure]:
    """What came back of one model, and how long it took: damages down, strategies across.

    Args:
        lines: of the model.
        prefix: of the figures' names.
        named: its label stands over them.
    """
    shown = damages_of(lines)
    shown = pd.DataFrame(shown[~shown["strategy"].isin(["nothing", "restore_all"])])
    if len(shown[["damage", "severity"]].drop_duplicates()) < 2:
        return {}
    draws = f"mean of {shown['draws'].max()} draws" if shown["draws"].max() > 1 else "one draw"
    name = f"{lines['subject'].iloc[0]}\n" if named else ""
    back, took = (f"{name}{what}, {draws}" for what in ("Share that came back", "Seconds"))
    figures = {f"{prefix}_seconds": _map(shown, "seconds", took, "Blues", LogNorm(1e-2))}
    if shown["ratio"].notna().any():  # of damage inside the noise there is none
        ratios = _map(shown, "ratio", back, "RdBu", Normalize(-1, 1))
        figures = {f"{prefix}_ratio": ratios, **figures}
    return figures


def severity_curves(lines: pd.DataFrame, best: str, classes: int, prefix: str) -> dict[str, Figure]:
    """Accuracy and loss against severity; nothing and the best repair have their intervals."""
    unit, first = unit_of(str(lines["damage"].iloc[0])), records(lines.head(1))[0]
    start = {"correct": first["acc_original"], "loss": first["loss_original"]}
    start = {} if unit == _UNIT_DOWNWARDS else start
    parts = groups(pd.DataFrame(lines[lines["status"] == "ok"]), ["strategy", "optimizer"])
    curves = []
    for place, (key, part) in enumerate(parts):
        loss = {f"worst_loss{end}": part[f"loss{end}"] for end in ("", "_low", "_high")}
        table = part.assign(value=part["severity"], **loss).sort_values("value")
        colour, style = _look(place - 1) if key["strategy"] != "nothing" else (INK, "-")
        curve = Curve(strategy_title(key), unit, table, start)
        curves.append(Line(curve, colour, style, key["strategy"] in ("nothing", best)))
    figures = curve_figures(prefix, curves, classes)
    if unit == _UNIT_DOWNWARDS:
        for figure in figures.values():
            figure.axes[0].invert_xaxis()
    return figures


def training_curves(rows: pd.DataFrame, prefix: str) -> dict[str, Figure]:
    """Accuracy against training steps of the first draw of one damage, a figure a severity."""
    trained = rows[[len(json.loads(curve)) > 1 for curve in rows["curve"]]]
    first = pd.DataFrame(trained[trained["training_seed"] == rows["seed"].min()])
    return {
        f"{prefix}_{key['severity']:g}_steps": _training_curve(part, key["severity"])
        for key, part in groups(first, ["severity"])
    }


def strategy_title(line: Mapping[str, Any]) -> str:
    """`Retrain all`, with its recipe where that is not the usual one."""
    title, recipe = strategy_named(line["strategy"]).title, line["optimizer"]
    return title if recipe in ("", Tuning.optimizer) else f"{title} ({recipe})"


def _training_curve(rows: pd.DataFrame, severity: float) -> Figure:
    figure, axes = drawn(height=3.5 + 0.1 * len(rows))
    with mpl.rc_context(LOOK):
        for place, row in enumerate(records(rows)):
            points, (colour, style) = json.loads(row["curve"]), _look(place)
            axes.plot(
                [point["step"] for point in points], [100 * point["acc"] for point in points],
                color=colour, linestyle=style, marker="o", markersize=3.5,
                label=strategy_title(row),
            )  # fmt: skip
        original = 100 * rows["acc_original"].iloc[0]
        axes.axhline(original, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set(title=f"The way back from {severity:g}", xlabel="optimizer step")
        axes.set(ylabel="correct (%)", xscale="symlog", ylim=(-2, 102))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        add_legend(figure, axes, len(rows))
    return figure


def _map(lines: pd.DataFrame, column: str, title: str, colours: str, scale: Normalize) -> Figure:
    """A dash where there is nothing to divide by."""
    named = lines.assign(
        down=[f"{title_of(line['damage'])} {line['severity']:g}" for line in records(lines)],
        across=[strategy_title(line) for line in records(lines)],
    )
    table = named.pivot(index="down", columns="across", values=column)
    table = table.loc[named["down"].unique(), named["across"].unique()]
    size = (max(5.6, 3.4 + 0.46 * table.shape[1]), 1.9 + 0.26 * len(table))
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        picture = axes.imshow(table.to_numpy(), aspect="auto", cmap=colours, norm=scale)
        bar = figure.colorbar(picture, ax=axes)
        bar.ax.tick_params(labelsize=8)
        bar.solids.set_rasterized(True)  # type: ignore[union-attr]
        for (i, j), value in np.ndenumerate(table.to_numpy()):
            # Neither is a colour of the page: a cell stays as light or dark as it is.
            colour = "white" if sum(picture.cmap(scale(value))[:3]) < 1.6 else "black"
            text = number(value, 2 if value < 10 else 0)
            axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(table.shape[1]), table.columns, rotation=40, ha="right", fontsize=9)
        axes.set_yticks(range(len(table)), table.index, fontsize=9)
        axes.set_title(title)
        axes.spines[:].set_visible(False)
    return figure


def _look(place: int) -> tuple[str, str]:
    """Colour and style of a line."""
    return COLOURS[place % len(COLOURS)], _STYLES[place // len(COLOURS) % len(_STYLES)]
