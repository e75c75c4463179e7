"""Heat maps of what came back and what it cost, and curves of the way back."""

import json
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.results import records
from callbacks.words import DASH
from pipelines.recover.strategies import STRATEGIES
from pipelines.recover.table import CONTROLS, groups
from pipelines.report.figures import COLOURS, LOOK

_SHOWN = ("nothing", "retrain_all", "retrain_last", "distil", "reestimate_batch_norm")
"""Repairs in the view of compression: what one would do to a smaller model."""


def recovery_figures(rows: pd.DataFrame, lines: pd.DataFrame) -> dict[str, Figure]:
    """Draws, for every model: recovery ratio, cost, and curves over training steps.

    Args:
        rows: as `repaired` makes them.
        lines: of `summarised`.
    """
    found = {}
    for key, part in groups(lines, ["subject"]):
        subject = str(key["subject"])
        name, real = _slug(subject), pd.DataFrame(part[~part["damage"].isin(CONTROLS)])
        if len(real[["damage", "severity"]].drop_duplicates()) > 1:
            found[f"{name}_ratio"] = _map(
                real, "ratio", f"{subject}: share of the loss that came back"
            )
            found[f"{name}_seconds"] = _map(real, "seconds", f"{subject}: seconds of a repair")
        for of, some in groups(pd.DataFrame(rows[rows["subject"] == subject]), ["damage"]):
            damage = str(of["damage"])
            if damage not in CONTROLS and (figure := _curves(some, f"{subject}: {damage}")):
                found[f"{name}_{damage}_curves"] = figure
        if {"prune", "quantise"} & set(real["damage"]):
            found[f"{name}_compression"] = _compression(real, subject)
    return found


def _map(lines: pd.DataFrame, number: str, title: str) -> Figure:
    """Damages down, strategies across; a dash where there is nothing to divide by."""
    shown = lines[~lines["strategy"].isin(["nothing", "restore_all"])]
    damages = list(dict.fromkeys(zip(shown["damage"], shown["severity"], strict=True)))
    ways = list(dict.fromkeys(shown["strategy"]))
    table = np.full((len(damages), len(ways)), np.nan)
    for line in records(pd.DataFrame(shown)):
        place = damages.index((line["damage"], line["severity"])), ways.index(line["strategy"])
        table[place] = line[number]
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        size = (2.6 + 0.62 * len(ways), 1.6 + 0.26 * len(damages))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        _shade(axes, table, number)
        titles = [STRATEGIES[way].title for way in ways]
        axes.set_xticks(range(len(ways)), titles, rotation=40, ha="right", fontsize=8)
        axes.set_yticks(range(len(damages)), [f"{d} {s:g}" for d, s in damages], fontsize=8)
        axes.set_title(title)
        axes.spines[:].set_visible(False)
    return figure


def _shade(axes: Axes, table: np.ndarray, number: str) -> None:
    """Colours the cells and writes their numbers; ratios from red to blue, costs by magnitude."""
    if number == "ratio":
        picture = axes.imshow(table, aspect="auto", cmap="RdYlBu", vmin=-0.2, vmax=1.0)
    else:
        picture = axes.imshow(np.log10(np.maximum(table, 1e-3)), aspect="auto", cmap="YlOrBr")
    low, high = picture.get_clim()
    shades = picture.get_array()
    for (i, j), value in np.ndenumerate(table):
        place = (shades[i, j] - low) / (high - low) if high > low else 0.5  # type: ignore[index]
        dark = place > 0.85 or (number == "ratio" and place < 0.12)
        text = DASH if np.isnan(value) else f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
        colour = "white" if dark else "#1b1f24"
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)


def _curves(rows: pd.DataFrame, title: str) -> Figure | None:
    """Accuracy against training steps of the first draw, a panel for every severity."""
    first = rows[rows["seed"] == rows["seed"].min()]
    trained = pd.DataFrame(first[[len(json.loads(curve)) > 1 for curve in first["curve"]]])
    if trained.empty:
        return None
    severities = sorted(set(trained["severity"]))
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(1.2 + 2.9 * len(severities), 3.2), layout="constrained")
        panels = figure.subplots(1, len(severities), sharey=True, squeeze=False)[0]
        ways = list(dict.fromkeys(trained["strategy"]))
        for axes, severity in zip(panels, severities, strict=True):
            part = pd.DataFrame(trained[trained["severity"] == severity])
            for line in records(part):
                points = json.loads(line["curve"])
                colour = COLOURS[ways.index(line["strategy"]) % len(COLOURS)]
                label = STRATEGIES[line["strategy"]].title
                axes.plot(
                    [one["step"] for one in points], [100 * one["acc"] for one in points],
                    color=colour, marker="o", markersize=3, label=label,
                )  # fmt: skip
            axes.axhline(
                100 * part["acc_original"].iloc[0], color="#5b6572", linewidth=0.8, linestyle="--"
            )
            axes.set(title=f"severity {severity:g}", xlabel="optimizer step", xscale="symlog")
            axes.set_xlim(left=0)
            axes.set_ylim(-2, 102)
        panels[0].set_ylabel("correct (%)")
        panels[-1].legend(fontsize=7)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure


def _compression(lines: pd.DataFrame, subject: str) -> Figure:
    """What compression costs, and what of it comes back."""
    kinds = [one for one in ("prune", "quantise") if one in set(lines["damage"])]
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(1.2 + 4.2 * len(kinds), 3.2), layout="constrained")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(panels, kinds, strict=True):
            chosen = lines["strategy"].isin(_SHOWN) & (lines["damage"] == kind)
            part = pd.DataFrame(lines[chosen])
            for of, found in groups(part, ["strategy"]):
                i = _SHOWN.index(of["strategy"])
                some = found.sort_values("severity")
                axes.plot(
                    some["severity"], 100 * some["acc"], color=COLOURS[i % len(COLOURS)],
                    marker="o", markersize=3, label=STRATEGIES[of["strategy"]].title,
                )  # fmt: skip
            axes.axhline(
                100 * part["acc_original"].iloc[0], color="#5b6572", linewidth=0.8, linestyle="--"
            )
            label = {"prune": "share of weights removed", "quantise": "bits of a weight"}[kind]
            axes.set(title=f"{subject}: {kind}", xlabel=label)
            if kind == "quantise":
                axes.invert_xaxis()
        panels[0].set_ylabel("correct (%)")
        panels[-1].legend(fontsize=7)
    return figure


def _slug(subject: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in subject.lower())


def names(figures: Sequence[str]) -> list[str]:
    """The maps first, then the curves."""
    return sorted(figures, key=lambda name: ("ratio" not in name, "seconds" not in name, name))
