"""What the model answers, class by class, and how far its confidence can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from callbacks.reductions import per_class
from callbacks.results import ProbeResult
from callbacks.words import percent
from pipelines.report.figures import COLOURS, GRID, INK, LOOK, SOFT, drawn
from pipelines.report.images import shortened
from pipelines.report.sections import Cell, Section, Sheet

_MANY_CLASSES = 24
"""Of more classes only the worst are shown; the table in MLflow has all."""
_BINS = 15


def by_class(results: Sequence[ProbeResult], classes: Sequence[str], number: str) -> pd.DataFrame:
    """One line a class, one column a probe at its headline severity.

    Args:
        results: of any probes.
        classes: names.
        number: `acc`, `acc_low` or `acc_high`.
    """
    columns = {}
    for result in results:
        rows = result.at_headline
        if len(rows) and not result.is_list:
            value, table = rows["value"].iloc[0], per_class(rows, classes).set_index("class")
            name = f"{result.name} {value:.4g}" if value else result.name
            columns[name] = table[number]
    table = pd.DataFrame(columns).rename_axis("class")
    return table.reindex([name for name in classes if name in table.index]).reset_index()


def answer_sections(
    clean: ProbeResult | None,
    results: Sequence[ProbeResult],
    classes: Sequence[str],
    disturbed: Mapping[str, pd.DataFrame],
    sheets: Sequence[Sheet] = (),
) -> list[Section]:
    """Accuracy by class, confusion of undisturbed and attacked images, and reliability.

    Args:
        clean: the undisturbed images, if they were measured.
        results: of all probes.
        classes: names.
        disturbed: rows whose answers are shown class by class too, by title.
        sheets: further tables about classes; those without lines are left out.
    """
    figures: dict[str, Figure] = {}
    if clean is not None and len(clean.rows):
        figures["reliability"] = reliability_figure(clean.rows)
        for place, (title, rows) in enumerate(disturbed.items(), 1):
            figures[f"reliability_{place}"] = reliability_figure(rows, title)
        shown = {"Undisturbed": clean.rows, **disturbed} if len(classes) <= _MANY_CLASSES else {}
        for place, (title, rows) in enumerate(shown.items()):
            name = f"confusion_{place}" if place else "confusion"
            figures[name] = confusion_figure(rows, classes, title)
    # What has no severity, such as an explanation, asks nothing new of the images.
    sheet = _class_sheet([one for one in results if one.is_curve or one is clean], classes)
    if not (figures or sheet.lines):
        return []
    text = "Accuracy in per cent by true class, of curves at their headline severity."
    more = [one for one in sheets if one.lines]
    return [Section("By class", text, figures, sheets=[sheet, *more])]


def taken_for(rows: pd.DataFrame, classes: int) -> np.ndarray:
    """Share of each true class that is answered as each, `(classes, classes)`.

    What is no answer, such as NaN, is none of a class: such lines do not add up to 1.
    """
    counts, given = np.zeros((classes, classes)), rows.loc[np.isfinite(rows["logsumexp"])]
    np.add.at(counts, (given["label"].to_numpy(int), given["prediction"].to_numpy(int)), 1)
    of_each = np.bincount(rows["label"].to_numpy(int), minlength=classes)
    return counts / np.maximum(of_each, 1)[:, None]


@mpl.rc_context(LOOK)
def confusion_figure(
    rows: pd.DataFrame, classes: Sequence[str], title: str = "Undisturbed"
) -> Figure:
    """How often each class is taken for which, in per cent of the true class."""
    share = 100 * taken_for(rows, len(classes))
    side = 5.6 if len(classes) <= 14 else 7.5
    figure, axes = drawn(side, 0.8 * side)
    axes.grid(False)
    for (i, j), value in np.ndenumerate(share):
        if value >= 0.5:  # so strong that ink is read on it in light and dark, at least 4.5 : 1
            place, strength = (j - 0.5, i - 0.5), 0.08 + 0.42 * value / 100
            axes.add_patch(Rectangle(place, 1, 1, color=COLOURS[0], alpha=strength, linewidth=0))
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=9, color=INK)
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), aspect="equal")
    names = [shortened(name) for name in classes]
    slanted: Any = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 2 else {}
    axes.set_xticks(range(len(classes)), names, fontsize=9, **slanted)
    axes.set_yticks(range(len(classes)), names, fontsize=9)
    axes.set(title=f"{title}: taken for (%)", xlabel="answer", ylabel="true class")
    return figure


@mpl.rc_context(LOOK)
def reliability_figure(rows: pd.DataFrame, title: str = "Undisturbed") -> Figure:
    """Accuracy against confidence in equal bins, with how many answers each holds.

    Args:
        rows: of one setting.
        title: what was done to the images.
    """
    confidence, correct = rows["confidence"].to_numpy(), rows["correct"].to_numpy(float)
    edges = np.linspace(0, 1, _BINS + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, _BINS - 1)
    size = np.bincount(place, minlength=_BINS)
    full = size > 0
    share = np.bincount(place, correct, minlength=_BINS)[full] / size[full]
    mean = np.bincount(place, confidence, minlength=_BINS)[full] / size[full]
    figure, axes = drawn(height=4.48)
    axes.plot([0, 100], [0, 100], color=SOFT, linewidth=0.8, linestyle="--", label="perfect")
    middle = (edges[:-1] + edges[1:]) / 2
    axes.bar(
        100 * middle,
        100 * size / size.sum(),
        width=90 / _BINS,
        color=GRID,
        label="share of answers",
    )
    axes.plot(100 * mean, 100 * share, color=COLOURS[0], marker="o", markersize=4, label="answers")
    axes.set(
        title=f"{title}: reliability", xlabel="confidence (%)", ylabel="correct (%)",
        xlim=(0, 101), ylim=(0, 102),
    )  # fmt: skip
    axes.legend(fontsize=9, loc="upper left")
    return figure


def _class_sheet(results: Sequence[ProbeResult], classes: Sequence[str]) -> Sheet:
    table = by_class(results, classes, "acc")
    columns = list(table.columns[1:])
    if len(table) > _MANY_CLASSES:  # those that are low beyond doubt, not those with one image
        surely = by_class(results, classes, "acc_high")[columns].min(axis=1)
        table = table.loc[surely.sort_values(kind="stable").index]
    images = _images(results, classes)
    lines = [
        [str(name), f"{images[name]:,}", *(Cell(percent(v), heat=v) for v in values)]
        for name, *values in table.head(_MANY_CLASSES).itertuples(index=False)
    ]
    left = len(table) - len(lines)
    caption = (
        f"The {len(lines)} classes with the lowest accuracy; {left} more are in "
        "tables/by_class.json."
    )
    titles = [_titled(result) for result in results if len(result.rows)]
    return Sheet(["class", "images", *titles], lines, caption=caption if left else "")


def _images(results: Sequence[ProbeResult], classes: Sequence[str]) -> dict[str, int]:
    """How many images of each class the probe with most of them has; draws do not count."""
    counts = [result.rows.groupby("label")["index"].nunique() for result in results]
    most = pd.concat(counts, axis=1).max(axis=1)
    return {
        str(classes[label]): int(count)
        for label, count in zip(most.index.to_numpy(int), most, strict=True)
    }


def _titled(result: ProbeResult) -> str:
    """`PGD (L∞) 8/255`."""
    value = float(result.at_headline["value"].iloc[0])
    return f"{result.title} {result.said(value)}".strip()
