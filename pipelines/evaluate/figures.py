"""Curves over severity with their intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.evaluate.probe_results import AttackSet, ProbeResult, unit_slug
from pipelines.evaluate.result import Evaluation
from pipelines.report.figures import COLOURS, INK, LOOK, SOFT
from pipelines.report.words import radius

_STYLES = ("--", ":", "-.", (0, (1, 3)))


@dataclass(frozen=True)
class _Line:
    """One curve: its table, and how it looks."""

    table: pd.DataFrame
    clean: pd.DataFrame
    label: str
    colour: str
    style: Any = "-"
    width: float = 1.8
    band: bool = True
    alpha: float = 1.0


@dataclass(frozen=True)
class _Number:
    """What a figure is about."""

    column: str
    of_row: str
    scale: float
    title: str
    axis: str


_NUMBERS = {
    "acc": _Number("acc", "correct", 100, "Accuracy", "correct (%)"),
    "loss": _Number("worst_loss", "loss", 1, "Worst loss found", "cross-entropy (nats)"),
}


_NO_TABLE = pd.DataFrame({name: [] for name in ("value", "acc", "worst_loss")})


def curves(evaluations: Sequence[Evaluation]) -> dict[str, Figure]:
    """Draws accuracy and loss against severity, two figures for every family and unit.

    Bands are 95 % intervals. Of one model, colours are probes; of several, colours are models.

    Args:
        evaluations: of one model, or of several to lay side by side.

    Returns:
        Figures by file name; none where nothing has a severity.
    """
    found = {}
    for unit, family in _axes(evaluations).items():
        lines = list(_lines(evaluations, unit))
        for name, about in _NUMBERS.items():
            if any(line.table[about.column].notna().any() for line in lines):
                figure = _figure(lines, about, unit, evaluations)
                found[f"{family}_{unit_slug(unit)}_{name}"] = figure
    return found


def _axes(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Units with the family that has them, in the order of first mention."""
    results = [result for one in evaluations for result in one.results if result.is_curve]
    return {result.unit: result.family for result in results}


def _lines(evaluations: Sequence[Evaluation], unit: str) -> Iterator[_Line]:
    styles: dict[str, Any] = {}
    for i, evaluation in enumerate(evaluations):
        results = [one for one in evaluation.results if one.is_curve and one.unit == unit]
        worst = next((one for one in evaluation.attacks if one.results[0].unit == unit), None)
        if len(evaluations) == 1:
            yield from _of_one_model(evaluation, results, worst)
            continue
        colour, name = COLOURS[i % len(COLOURS)], model_names(evaluations)[i]
        if worst is not None:
            yield _Line(worst.table, _clean(evaluation, results), name, colour, width=2.4)
        for result in results:
            style = styles.setdefault(result.title, _STYLES[len(styles) % len(_STYLES)])
            if worst is None or len(worst.results) > 1:
                clean = _clean(evaluation, [result])
                yield _Line(result.table, clean, "", colour, style, 1.1, alpha=0.9, band=False)
    for title, style in styles.items():  # of several models, only the legend names the attacks
        yield _Line(_NO_TABLE, _NO_TABLE, title, SOFT, style, 1.1)


def _of_one_model(
    evaluation: Evaluation, results: list[ProbeResult], worst: AttackSet | None
) -> Iterator[_Line]:
    if worst is not None and len(worst.results) > 1:
        clean = _clean(evaluation, results)
        label = "worst, image by image"
        yield _Line(worst.table, clean, label, INK, width=7, band=False, alpha=0.2)
    for i, result in enumerate(results):
        colour = COLOURS[i % len(COLOURS)]
        yield _Line(result.table, _clean(evaluation, [result]), result.title, colour)


def model_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Names to tell models by; equal ones are numbered."""
    names = [str(one.model["name"]) for one in evaluations]
    numbered = [f"{name} ({1 + names[:i].count(name)})" for i, name in enumerate(names)]
    return [
        many if names.count(one) > 1 else one for one, many in zip(names, numbered, strict=True)
    ]


def _clean(evaluation: Evaluation, results: Sequence[ProbeResult]) -> pd.DataFrame:
    """The undisturbed answers on the samples that all of the probes measured."""
    clean = evaluation.result("clean")
    if clean is None:
        return pd.DataFrame({"correct": [], "loss": []})
    rows = clean.rows
    for result in results:
        rows = rows.loc[rows["index"].isin(result.rows["index"])]
    return rows


def _figure(
    lines: Sequence[_Line], about: _Number, unit: str, evaluations: Sequence[Evaluation]
) -> Figure:
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(5.6, 3.5), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            _draw(axes, line, about)
        sign = unit.rpartition("(")[2].rstrip(")")
        axes.set(title=f"{about.title}, {sign}", xlabel=unit, ylabel=about.axis)
        axes.margins(x=0.02)
        axes.set_xlim(left=0)
        if about.column == "acc":
            axes.set_ylim(-2, 102)
            _mark_chance(axes, evaluations[0])
        _name_radii(axes, lines, unit)
        axes.legend(fontsize=9)
    return figure


def _draw(axes: Axes, line: _Line, about: _Number) -> None:
    """Draws one curve from the undisturbed number on the same samples, with its band."""
    look: Any = {"color": line.colour, "linestyle": line.style, "linewidth": line.width}
    table = line.table.dropna(subset=[about.column])
    if table.empty:
        axes.plot([], [], label=line.label, **look)
        return
    names = ("value", about.column, f"{about.column}_low", f"{about.column}_high")
    value, middle, low, high = (list(table[name]) for name in names)
    if len(line.clean) and value[0] > 0:
        start = float(line.clean[about.of_row].mean())
        value = [0.0, *value]
        middle, low, high = [start, *middle], [start, *low], [start, *high]
    middle, low, high = ([about.scale * y for y in ys] for ys in (middle, low, high))
    marks: Any = {"marker": "o", "markersize": 3.5 if line.alpha == 1 else 0, "alpha": line.alpha}
    axes.plot(value, middle, label=line.label or None, **look, **marks)
    if line.band:
        axes.fill_between(value, low, high, color=line.colour, alpha=0.16, linewidth=0)


def _mark_chance(axes: Axes, evaluation: Evaluation) -> None:
    chance = 100 / len(evaluation.model["classes"])
    axes.axhline(chance, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.annotate(
        "chance", (0, chance), (4, 2), ("axes fraction", "data"), "offset points",
        ha="left", va="bottom", fontsize=8, color=SOFT,
    )  # fmt: skip


def _name_radii(axes: Axes, lines: Sequence[_Line], unit: str) -> None:
    """Writes radii of whole grey levels as k/255, where the field thinks in them."""
    values = sorted({value for line in lines for value in line.table["value"]})
    names = [radius(value, unit) for value in values]
    if names and all("/" in name for name in names):
        apart = [0.0]
        for value in values:
            if value - apart[-1] > 0.08 * values[-1]:
                apart.append(value)
        axes.set_xticks(apart, ["0", *(radius(value, unit) for value in apart[1:])])
