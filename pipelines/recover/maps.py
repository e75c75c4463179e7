"""Heat maps of what came back and what it cost: damages down, repairs across."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from callbacks.results import records
from callbacks.words import number
from pipelines.recover.damages import title_of, unit_of
from pipelines.recover.table import damages_of, strategy_title
from pipelines.report.figures import GRID, LOOK, SOFT

_LEFT_OUT = ("nothing", "restore_all")
_REASONS = {
    "noise": "damage below two standard errors",
    "n/a": "does not apply",
    "failed": "in every draw",
    "": "not tried",
}
"""What stands in a cell without a number."""


def maps(lines: pd.DataFrame, prefix: str, named: bool = False) -> dict[str, Figure]:
    """What came back of one model, and how long it took.

    None of a single damage, or where every repair failed.

    Args:
        lines: of the model.
        prefix: of the figures' names.
        named: its label stands over them.
    """
    shown = damages_of(lines)
    shown = pd.DataFrame(shown[~shown["strategy"].isin(_LEFT_OUT)])
    places = shown[["damage", "severity"]].drop_duplicates()
    if len(places) < 2 or not (shown["status"] == "ok").any():
        return {}
    model = f"{lines['subject'].iloc[0]}\n" if named else ""
    seconds = _map(shown, "seconds", f"{model}Time that it took", "seconds")
    if shown["ratio"].isna().all():  # of damage inside the noise there is none
        return {f"{prefix}_seconds": seconds}
    ratios = _map(shown, "ratio", f"{model}Share that came back (1 is all)", "recovery ratio")
    return {f"{prefix}_ratio": ratios, f"{prefix}_seconds": seconds}


def _map(lines: pd.DataFrame, column: str, title: str, unit: str) -> Figure:
    """Empty cells are hatched and say why; a cell of fewer draws than others says of how many."""
    cells = {
        ((line["damage"], line["severity"]), strategy_title(line)): line for line in records(lines)
    }
    down = list(dict.fromkeys(place for place, _ in cells))
    across = list(dict.fromkeys(repair for _, repair in cells))
    values = np.full((len(down), len(across)), np.nan)
    for (row, repair), line in cells.items():
        if line["status"] == "ok":
            values[down.index(row), across.index(repair)] = line[column]
    size = (max(5.6, 4.2 + 0.5 * len(across)), 2.1 + 0.28 * len(down))
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        colours, norm = _colours(values, column)
        picture = axes.imshow(values, aspect="auto", cmap=colours, norm=norm)
        reasons = [
            _write(axes, (i, j), value, cells.get((down[i], across[j])), picture)
            for (i, j), value in np.ndenumerate(values)
        ]
        draws = int(lines["draws"].max())
        axes.set_title(f"{title}, {f'mean of {draws} draws' if draws > 1 else 'one draw'}")
        axes.set_xticks(range(len(across)), across, rotation=40, ha="right", fontsize=9)
        axes.set_yticks(range(len(down)), _row_names(down), fontsize=9)
        axes.spines[:].set_visible(False)
        _add_bar(figure, axes, picture, values, unit)
        _explain(figure, [reason for reason in reasons if reason is not None])
    return figure


def _colours(values: np.ndarray, column: str) -> tuple[str, Normalize]:
    """A ratio of 0 is neutral: repairs that did harm are of another colour."""
    if column == "seconds":
        return "Blues", LogNorm(1e-2, max(1.0, np.nanmax(values, initial=0)))
    return ("RdBu", Normalize(-1, 1)) if np.nanmin(values) < 0 else ("Blues", Normalize(0, 1))


def _write(
    axes: Axes, place: tuple[int, int], value: float, line: Mapping[str, Any] | None,
    picture: AxesImage,
) -> str | None:  # fmt: skip
    """Writes a cell, and returns the reason where there is no number."""
    i, j = place
    if np.isfinite(value):
        assert line is not None
        # Neither is a colour of the page: a cell stays as light or dark as it is.
        colour = "white" if sum(picture.to_rgba(np.array(value))[:3]) < 1.6 else "black"
        text = number(value, 2 if value < 10 else 0)
        if line["failed"]:
            text += f"\n{line['draws'] - line['failed']} of {line['draws']}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour, linespacing=0.9)
        return None
    reason = "" if line is None else _reason(line)
    look = {"fill": False, "hatch": "////", "edgecolor": GRID, "linewidth": 0}
    axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, **look))
    axes.text(j, i, reason, ha="center", va="center", fontsize=7.5, color=SOFT)
    return reason


def _reason(line: Mapping[str, Any]) -> str:
    if line["status"] == "ok":
        return "noise"
    return "n/a" if line["status"].startswith("not applicable") else "failed"


def _row_names(down: Sequence[tuple[str, float]]) -> list[str]:
    """A damage and the unit of its severities are named once."""
    names, before = [], ""
    for damage, severity in down:
        name = "" if damage == before else f"{title_of(damage)} ({unit_of(damage)})   "
        names.append(f"{name}{severity:g}")
        before = damage
    return names


def _add_bar(figure: Figure, axes: Axes, picture: AxesImage, values: np.ndarray, unit: str) -> None:
    """With its unit; its ends are pointed where numbers lie beyond them."""
    least, most = picture.get_clim()
    below, above = bool(np.nanmin(values) < least), bool(np.nanmax(values) > most)
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}
    bar = figure.colorbar(picture, ax=axes, extend=extend.get((below, above), "neither"))
    bar.ax.tick_params(labelsize=8)
    bar.set_label(unit, fontsize=9)
    bar.solids.set_rasterized(True)  # type: ignore[union-attr]


def _explain(figure: Figure, reasons: Sequence[str]) -> None:
    """Under the map: what the words in empty cells mean."""
    told = [
        f"{reason or 'hatched'}: {meaning}"
        for reason, meaning in _REASONS.items()
        if reason in reasons
    ]
    if told:
        figure.supxlabel("; ".join(told), fontsize=8, color=SOFT)
