"""Figures of `assay explain`: the score's parts, outliers, failures, drift, firing rates."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from callbacks.monitoring import LayerStatistics
from callbacks.monitoring.outliers import score_title
from pipelines.report.figures import _GRID, _INK, _SOFT, COLOURS, LOOK


def drawn(width: float = 5.6, height: float = 3.5) -> tuple[Figure, Axes]:
    """An empty figure in the look of the report."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()


def score_figure(table: pd.DataFrame) -> Figure:
    """Parts of the monitorability score with their intervals, and the score.

    Args:
        table: of `MonitorabilityScore`.
    """
    figure, axes = drawn(5.6, 0.5 + 0.42 * len(table))
    place = np.arange(len(table))[::-1]
    for i, line in zip(place, table.to_dict("records"), strict=True):
        total = line["part"] == "monitorability"
        colour = _INK if total else COLOURS[0]
        low, high = (line[end] if np.isfinite(line[end]) else line["value"] for end in _ENDS)
        axes.plot([low, high], [i, i], color=colour, linewidth=7, alpha=0.25, solid_capstyle="butt")
        axes.plot(line["value"], i, "o", color=colour, markersize=7 if total else 5)
        axes.annotate(
            f"{line['value']:.2f}", (line["value"], i), (0, 8), textcoords="offset points",
            ha="center", fontsize=9, color=colour,
        )  # fmt: skip
    axes.set_yticks(place, [str(name) for name in table["part"]])
    axes.set(
        xlim=(-0.02, 1.04), ylim=(-0.7, len(table) - 0.2), title="Monitorability and its parts"
    )
    axes.set_xlabel("0: as good as random · 1: the best there can be")
    return figure


_ENDS = ("low", "high")


def outlier_figure(table: pd.DataFrame) -> Figure:
    """AUROC of every score against every kind of outlier, with intervals.

    Args:
        table: of `separation_table`.
    """
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
    axes.axvline(0.5, color=_SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_yticks(np.arange(len(scores))[::-1], [score_title(name) for name in scores])
    axes.set(
        xlim=(min(0.45, float(table["auroc"].min()) - 0.03), 1.02), xlabel="AUROC; 0.5: chance"
    )
    axes.set_title("Telling outliers by their scores")
    axes.legend(fontsize=8, loc="lower left")
    return figure


def risk_figure(rows: Mapping[str, pd.DataFrame]) -> Figure:
    """Error among the most confident answers against their share.

    Args:
        rows: by name of the condition; columns `confidence correct`.
    """
    figure, axes = drawn()
    for i, (name, part) in enumerate(rows.items()):
        order = (-part["confidence"].to_numpy()).argsort(kind="stable")
        errors = 1 - part["correct"].to_numpy(float)[order]
        n = np.arange(1, len(errors) + 1)
        coverage, risk = n / len(n), errors.cumsum() / n
        keep = np.unique(np.linspace(0, len(n) - 1, 400).astype(int))
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(coverage[keep], 100 * risk[keep], color=colour, label=name)
        best = np.sort(errors).cumsum() / n
        axes.plot(coverage[keep], 100 * best[keep], color=colour, linestyle=":", linewidth=1.1)
    axes.plot([], [], color=_SOFT, linestyle=":", linewidth=1.1, label="perfect confidence")
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
    axes.axhline(threshold, color=_INK, linewidth=1, linestyle="--")
    axes.axvline(0, color=_SOFT, linewidth=0.8)
    axes.annotate(
        f"alarm (clean windows: {100 * rate:g} %)", (1, threshold), (-2, 3),
        ("axes fraction", "data"), "offset points", ha="right", fontsize=8, color=_INK,
    )  # fmt: skip
    axes.set_yscale("symlog", linthresh=5)
    axes.set(xlabel="images served since the drift began", ylabel="score of the window")
    axes.set_title("Drift of activations")
    axes.legend(fontsize=8, loc="upper left")
    return figure


def firing_figure(profile: Mapping[str, LayerStatistics]) -> Figure:
    """How often the units of each layer that can be silent are not zero.

    Args:
        profile: clean statistics by layer.
    """
    shown = {n: s for n, s in profile.items() if float(s.zero_rate.mean()) > 0.01 and n != "input"}
    figure, axes = drawn(5.6, 1.1 + 0.34 * max(len(shown), 1))
    names = list(shown)[::-1]
    random = np.random.default_rng(0)
    for i, name in enumerate(names):
        rate = 1 - shown[name].zero_rate.cpu().numpy()
        height = i + 0.25 * random.uniform(-1, 1, len(rate))
        dead = rate == 0
        axes.plot(rate[~dead], height[~dead], ".", color=COLOURS[0], ms=4, alpha=0.5)
        axes.plot(rate[dead], height[dead], "x", color=COLOURS[1], ms=5)
        share = f"{int(dead.sum())} of {len(rate)} silent"
        axes.annotate(share, (1.02, i), fontsize=8, va="center", color=_SOFT, annotation_clip=False)
    axes.set_yticks(range(len(names)), [name.removeprefix("model.") for name in names])
    axes.set(xlim=(-0.02, 1.01), xlabel="share of places where the unit is not zero")
    axes.set_title("Firing rates of units")
    return figure


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
            grid[i, j].set_xlabel(captions[name][i], fontsize=7.5, color=_SOFT)
            if i == 0:
                grid[i, j].set_title(name, fontsize=8, loc="center", fontweight="normal")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        for side in axes.spines.values():
            side.set_visible(True)
            side.set_color(_GRID)
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
            ink = "white" if abs(value) > 0.6 else _INK
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
    layer: str, images: np.ndarray, channels: Sequence[int], pairs: Sequence[tuple[float, float]],
    beats: Sequence[bool],
) -> Figure:  # fmt: skip
    """The image of each unit; under it its activation : that of natural images.

    Args:
        layer: name.
        images: `(n, H, W, C)` in [0, 1].
        channels: numbers of the units.
        pairs: activation, and the 99.9th percentile of natural ones.
        beats: the verdict.
    """
    shown = min(len(images), 32)
    columns = min(8, shown)
    lines = -(-shown // columns)
    with mpl.rc_context(LOOK):
        figure, grid = _sheet(lines, columns, 1.25, 1.55)
    figure.suptitle(f"Units of {layer.removeprefix('model.')}", fontsize=11, x=0.01, ha="left")
    for i, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        axes.set_axis_on() if i < shown else axes.set_axis_off()
        if i < shown:
            look: Any = {"cmap": "gray", "vmin": 0, "vmax": 1} if images.shape[-1] == 1 else {}
            axes.imshow(images[i].squeeze(), **look)
            axes.grid(False)
            sign = "✓" if beats[i] else "✗"
            axes.set_title(f"{channels[i]}", fontsize=8, loc="center", fontweight="normal", pad=2)
            colour = COLOURS[2] if beats[i] else COLOURS[1]
            axes.set_xlabel(
                "{} {:.2g} : {:.2g}".format(sign, *pairs[i]), fontsize=8, color=colour, labelpad=2
            )
    return figure


def _sheet(lines: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A grid of pictures at fixed places: a solver for the layout would take seconds.

    Args:
        lines: of the grid.
        columns: of the grid.
        width: of a cell, in inches.
        height: of a cell with what is written over and under it.
    """
    top = 0.35
    figure = Figure(figsize=(width * columns, height * lines + top))
    room = {"left": 0.01, "right": 0.99, "top": 1 - 1.5 * top / figure.get_figheight()}
    free = 1 - (width - 0.1) / height
    grid = figure.subplots(
        lines, columns, squeeze=False,
        gridspec_kw={**room, "bottom": 0.25 / figure.get_figheight(), "wspace": 0.06,
                     "hspace": free / (1 - free)},
    )  # fmt: skip
    return figure, grid
