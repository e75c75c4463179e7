"""Figures of `assay explain`: the score's parts, outliers, failures, drift, firing rates."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callbacks.monitoring.outliers import score_title
from pipelines.report.figures import COLOURS, INK, SOFT, drawn

_ENDS = ("low", "high")


def score_figure(table: pd.DataFrame) -> Figure:
    """The table of a `MonitorabilityScore`: its parts with their intervals, and the score."""
    figure, axes = drawn(5.6, 0.5 + 0.42 * len(table))
    place = np.arange(len(table))[::-1]
    for i, line in zip(place, table.to_dict("records"), strict=True):
        total = line["part"] == "monitorability"
        colour = INK if total else COLOURS[0]
        if not np.isfinite(line["value"]):
            axes.annotate("undefined", (0, i), va="center", fontsize=9, color=SOFT)
            continue
        low, high = (line[end] if np.isfinite(line[end]) else line["value"] for end in _ENDS)
        axes.plot([low, high], [i, i], color=colour, linewidth=7, alpha=0.25, solid_capstyle="butt")
        axes.plot(line["value"], i, "o", color=colour, markersize=7 if total else 5)
        axes.annotate(
            f"{line['value']:.2f}", (line["value"], i), (0, 8), textcoords="offset points",
            ha="center", fontsize=9, color=colour,
        )  # fmt: skip
    axes.set_yticks(place, [str(name) for name in table["part"]])
    axes.set(xlim=(-0.02, 1.04), ylim=(-0.7, len(table) - 0.2))
    axes.set(title="Monitorability and its parts")
    axes.set_xlabel("0: as good as random · 1: the best there can be")
    return figure


def outlier_figure(table: pd.DataFrame) -> Figure:
    """A `separation_table`: AUROC of every score against every kind of outlier."""
    kinds, scores = list(dict.fromkeys(table["outliers"])), list(dict.fromkeys(table["score"]))
    figure, axes = drawn(5.6, 1.2 + 0.36 * len(scores))
    for j, kind in enumerate(kinds):
        part = table.loc[table["outliers"] == kind].set_index("score").loc[scores]
        place = np.arange(len(scores))[::-1] + 0.5 * (0.5 - (j + 0.5) / len(kinds))
        value = part["auroc"].to_numpy(float)
        low = np.nan_to_num(part["auroc_low"].to_numpy(float), nan=1.0)
        high = np.nan_to_num(part["auroc_high"].to_numpy(float), nan=1.0)
        spread = [np.clip(value - low, 0, None), np.clip(high - value, 0, None)]
        colour = COLOURS[j % len(COLOURS)]
        axes.errorbar(value, place, xerr=spread, fmt="o", color=colour, ms=4.5, lw=1.4, label=kind)
    axes.axvline(0.5, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yticks(np.arange(len(scores))[::-1], [score_title(name) for name in scores])
    axes.set_xlim(min(0.45, float(table["auroc"].min()) - 0.03), 1.02)
    axes.set(xlabel="AUROC; 0.5: chance", title="Telling outliers by their scores")
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    return figure


def risk_figure(rows: Mapping[str, pd.DataFrame]) -> Figure:
    """Error among the most confident answers against their share, of rows by condition."""
    figure, axes = drawn()
    for i, (name, part) in enumerate(rows.items()):
        order = (-part["confidence"].to_numpy()).argsort(kind="stable")
        errors = 1 - part["correct"].to_numpy(float)[order]
        n = np.arange(1, len(errors) + 1)
        coverage, risk = n / len(n), errors.cumsum() / n
        shown = np.unique(np.linspace(0, len(n) - 1, 400).astype(int))
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(coverage[shown], 100 * risk[shown], color=colour, label=name)
        best = np.sort(errors).cumsum() / n
        axes.plot(coverage[shown], 100 * best[shown], color=colour, linestyle=":", linewidth=1.1)
    axes.plot([], [], color=SOFT, linestyle=":", linewidth=1.1, label="perfect confidence")
    axes.set(xlim=(0, 1), xlabel="share of images answered, most confident first")
    axes.set(ylabel="errors among them (%)", title="Knowing when it is wrong")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return figure


def drift_figure(timeline: pd.DataFrame, threshold: float, rate: float) -> Figure:
    """Scores of windows before and after the onset of each drift, with the alarm threshold.

    Args:
        timeline: `shift end score alarm onset`.
        threshold: of the score.
        rate: stated false-alarm rate.
    """
    figure, axes = drawn()
    finite = timeline.loc[np.isfinite(timeline["score"])]
    for i, (name, part) in enumerate(finite.groupby("shift", sort=False)):
        colour, x = COLOURS[i % len(COLOURS)], part["end"] - part["onset"]
        axes.plot(x, part["score"], color=colour, linewidth=1.2, label=str(name))
        alarm = part["alarm"].to_numpy(bool)
        axes.plot(x[alarm], part["score"][alarm], "o", color=colour, markersize=5)
        calm = part["score"][~alarm]
        axes.plot(x[~alarm], calm, "o", color=colour, ms=4, markerfacecolor="none")
    axes.axhline(threshold, color=INK, linewidth=1, linestyle="--")
    axes.axvline(0, color=SOFT, linewidth=0.8)
    axes.annotate(
        f"alarm (clean windows: {100 * rate:g} %)", (1, threshold), (-2, 3),
        ("axes fraction", "data"), "offset points", ha="right", fontsize=8, color=INK,
    )  # fmt: skip
    axes.set_yscale("symlog", linthresh=5)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="images served since the drift began", ylabel="score of the window")
    axes.set_title("Drift of activations")
    axes.legend(fontsize=8, loc="upper left")
    return figure


def firing_figure(zeros: Mapping[str, np.ndarray]) -> Figure:
    """How often units are not zero; of each layer, the shares `(C,)` of places where they are."""
    shown = {n: z for n, z in zeros.items() if float(z.mean()) > 0.01 and n != "input"}
    figure, axes = drawn(5.6, 1.1 + 0.34 * max(len(shown), 1))
    names = list(shown)[::-1]
    random = np.random.default_rng(0)
    for i, name in enumerate(names):
        rate = 1 - shown[name]
        height = i + 0.25 * random.uniform(-1, 1, len(rate))
        dead = rate == 0
        axes.plot(rate[~dead], height[~dead], ".", color=COLOURS[0], ms=4, alpha=0.5)
        axes.plot(rate[dead], height[dead], "x", color=COLOURS[1], ms=5)
        share = f"{int(dead.sum())} of {len(rate)} silent"
        axes.annotate(share, (1.02, i), fontsize=8, va="center", color=SOFT, annotation_clip=False)
    axes.set_yticks(range(len(names)), [name.removeprefix("model.") for name in names])
    axes.set(xlim=(-0.02, 1.01), xlabel="share of places where the unit is not zero")
    axes.set_title("Firing rates of units")
    return figure


def linearity_figure(table: pd.DataFrame) -> Figure:
    """Held-out R² of a fitted linear function, and of the gradient, against the radius."""
    figure, axes = drawn()
    names = {"r2": "fitted on 160 rows", "first_order": "the gradient, not fitted"}
    for colour, (name, title) in zip(COLOURS, names.items(), strict=False):
        value = table[name].clip(lower=-1)
        axes.plot(table["radius"], value, "o-", color=colour, ms=4, lw=1.4, label=title)
        low, high = (table[f"{name}_{end}"].clip(lower=-1) for end in _ENDS)
        axes.fill_between(table["radius"], low, high, color=colour, alpha=0.18, linewidth=0)
    axes.axhline(0, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xscale("log")
    axes.set_xlim(0.9 * table["radius"].min(), 1.1 * table["radius"].max())  # also without a point
    if not np.isfinite(table[[*names]].to_numpy(float)).any():
        told, middle = "undefined: the answers do not change", table["radius"].median()
        axes.annotate(told, (middle, 0.5), ha="center", color=SOFT)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="radius of the disturbance (standard deviation, pixels in [0, 1])")
    axes.set(ylabel="held-out R²", title="Linear round an image", ylim=(-1.05, 1.05))
    axes.legend(fontsize=8)
    return figure
