"""Pictures that probes have saved: some of them to be looked at, and how all were judged."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from callbacks.results import ProbeResult, records, unit_slug
from callbacks.statistics import rate
from callbacks.words import number, percent, radius
from pipelines.report.figures import INK, LOOK, SOFT
from pipelines.report.images import shortened
from pipelines.report.sections import Cell, Sheet, rate_cell

_ROWS = 4
"""Of a gallery."""
_SIDE = 112
"""Pixels; larger pictures are shown smaller, so that a page stays small. The files are whole."""
_COLUMNS = (
    "attack", "severity", "saved", "still fool %", "wrong by rounding alone", "drawn in",
    "distance / radius",
)  # fmt: skip


def galleries(family: str, results: Sequence[ProbeResult]) -> dict[str, Figure]:
    """One figure for every unit: original, change, and what became of it, by turns of the attacks.

    Args:
        family: prefix of the figures' names.
        results: of its probes.

    Returns:
        Figures by name; none where no saved picture fools the model.
    """
    figures = {}
    for unit in dict.fromkeys(result.unit for result in results if result.shown):
        alike = [result for result in results if result.unit == unit and result.shown]
        figures[f"{family}_{unit_slug(unit)}_gallery"] = _gallery(_by_turns(alike), unit)
    return figures


def saved_sheet(results: Sequence[ProbeResult]) -> Sheet | None:
    """Of every attack and radius how many of the saved pictures still fool the model."""
    lines: list[list[Cell | str]] = []
    for result in results:
        for _, part in result.pictures.groupby("severity") if len(result.pictures) else ():
            share = rate(int(part["fools"].sum()), len(part))
            most = (part["distance"] / part["epsilon"]).max()
            lines.append(
                [
                    result.title,
                    result.said(float(part["epsilon"].iloc[0])),
                    f"{len(part):,}",
                    rate_cell(*share),
                    f"{int((part['png_clean_correct'] == 0).sum()):,}",
                    f"{int(part['drawn'].sum()):,}",
                    number(float(most)),
                ]
            )
    if not lines:
        return None
    rounded = max(int(r.pictures["clean_rounded"].sum()) for r in results if len(r.pictures))
    caption = (
        "The first images that each attack broke, by index, rounded to 8 bit inside the ball, "
        "written, read back and judged again; the files are in adversarials/, with index.json. "
        "Drawn in: the nearest picture lay outside of the ball, so that the change was shortened. "
        "Distance / radius: the largest between the two files."
    )
    if rounded:
        caption += (
            " The originals were not in whole grey levels themselves (resized, for instance): they "
            "are rounded and judged too, and where that alone errs no attack is credited."
        )
    return Sheet(_COLUMNS, lines, "Adversarial images as 8-bit PNG", caption, in_terminal=True)


def _by_turns(results: Sequence[ProbeResult]) -> list[tuple[str, Mapping[str, Any], np.ndarray]]:
    """Title, line, and original beside changed picture; each attack shows another image."""
    offered = []
    for result in results:
        lines = records(result.pictures.loc[result.pictures["shown"] == 1])
        pairs = np.stack([result.shown["clean"], result.shown["adversarial"]], 1)
        titles = [
            f"{result.title.split(' (')[0]} {radius(r['epsilon'], result.unit)}" for r in lines
        ]
        offered.append(list(zip(titles, lines, pairs, strict=True)))
    taken: dict[int, Any] = {}
    for _ in range(_ROWS):
        for rows in offered:
            new = [row for row in rows if int(row[1]["index"]) not in taken]
            taken |= {int(row[1]["index"]): row for row in new[:1]}
    return list(taken.values())[:_ROWS]


def _gallery(rows: Sequence[tuple[str, Mapping[str, Any], np.ndarray]], unit: str) -> Figure:
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(figsize=(5.6, 0.5 + 2.2 * len(rows)), layout="constrained")
        figure.get_layout_engine().set(h_pad=0.08)  # type: ignore[union-attr]
        title = f"Adversarial images as saved, {unit.rpartition('(')[2].rstrip(')')}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        places = figure.subplots(len(rows), 3, squeeze=False)
        for axes, (name, line, (clean, changed)) in zip(places, rows, strict=True):
            change = changed.astype(float) - clean
            factor = max(1, int(127 / max(np.abs(change).max(), 1)))
            told = f"{shortened(str(line['true_class']))} ({_sure(line['png_clean_confidence'])})"
            _show(axes[0], _smaller(clean), told, "original")
            magnified = np.clip(128 + factor * change, 0, 255).round().astype(np.uint8)
            _show(axes[1], _sampled(magnified), f"change \N{MULTIPLICATION SIGN} {factor}", name)
            told = f"{shortened(str(line['png_class']))} ({_sure(line['png_confidence'])})"
            _show(axes[2], _smaller(changed), told, "as saved")
    return figure


def _sure(confidence: float) -> str:
    return f"{percent(confidence, 0)} %"


def _show(axes: Axes, picture: np.ndarray, title: str, under: str) -> None:
    """A picture pixel by pixel, with what is answered over it."""
    axes.imshow(
        np.broadcast_to(picture, (*picture.shape[:2], 3)), interpolation="none", vmin=0, vmax=255
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(title, loc="center", fontsize=9, fontweight="normal", color=INK, pad=3)
    axes.set_xlabel(under, fontsize=8.5, color=SOFT, labelpad=3)


def _smaller(picture: np.ndarray) -> np.ndarray:
    """`(H, W, C)` uint8 with a longer side of at most `_SIDE`, smoothly."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((_SIDE, _SIDE))
    small = np.asarray(image)
    return small[..., None] if small.ndim == 2 else small


def _sampled(picture: np.ndarray) -> np.ndarray:
    """The same by leaving out pixels: the mean of a change that alternates would be none."""
    step = -(-max(picture.shape[:2]) // _SIDE)
    return picture[::step, ::step]
