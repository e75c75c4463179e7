"""The sections of an evaluation's page: each family, every number, the data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from callbacks.family import Curve, Family, Summary
from callbacks.results import ProbeResult, records
from callbacks.words import number, radius
from pipelines.report.about import About
from pipelines.report.curves import coloured, curve_figures
from pipelines.report.figures import LOOK
from pipelines.report.sections import Cell, Section, Sheet, number_cell, rate_cell

_DAGGER = "†"
_COLUMNS = ("probe", "severity", "images", "accuracy %", "worst loss", "ECE", "forwards/image")
_MORE = (
    "probe", "severity", "images", "0 · accuracy · 100", "accuracy %", "worst loss",
    "ECE", "Brier", "error AUROC", "forwards", "backwards",
)  # fmt: skip


def curve_of(result: ProbeResult, clean: ProbeResult | None) -> Curve:
    """A probe's curve, with the undisturbed numbers on the same samples where it begins."""
    start: dict[str, float] = {}
    if clean is not None:
        rows = clean.rows[clean.rows["index"].isin(result.rows["index"])]
        start = {name: float(rows[name].mean()) for name in ("correct", "loss")}
    return Curve(result.title, result.unit, result.table, start)


def family_section(
    family: Family,
    results: Sequence[ProbeResult],
    curves: Sequence[Curve],
    summary: Summary,
    classes: int,
) -> Section:
    """A family's figures and the numbers that only its probes have.

    Args:
        family: its words.
        results: of its probes.
        curves: over severity.
        summary: with further figures.
        classes: of the model.
    """
    figures = curve_figures(family.name, coloured(curves), classes)
    sheets = [_reported(result) for result in results if result.reported and len(result.rows)]
    terms = family.terms
    return Section(
        family.title, family.text, {**figures, **summary.figures}, sheets=sheets, terms=terms
    )


def number_sheets(
    results: Sequence[ProbeResult], summaries: Mapping[str, Summary], title: str
) -> tuple[Sheet, Sheet]:
    """Every number of every probe: short for the terminal, and whole for the page."""
    brief: list[list[Cell | str]] = []
    whole: list[list[Cell | str]] = []
    groups = []
    for result in results:
        groups.append(len(brief))
        for line in records(result.table):
            cost = [result.cost(line["severity"], of) for of in ("forwards", "backwards")]
            images = f"{result.at(line['severity'])['index'].nunique():,}"
            brief.append(_brief(line, result.title, result.unit, images, number(cost[0], 1)))
            whole.append(
                _whole(line, result.title, result.unit, images)
                + [number(value, 1) for value in cost]
            )
    for summary in summaries.values():
        for name, table in summary.tables.items():
            groups.append(len(brief))
            unit = next((curve.unit for curve in summary.curves if curve.table is table), "")
            for line in records(table):
                images = f"{line['n']:,}"
                brief.append(_brief(line, name, unit, images, ""))
                whole.append([*_whole(line, name, unit, images), "", ""])
    caption = "in brackets: 95 % interval over images, and over draws where there are several"
    marks = frozenset(groups)
    return (
        Sheet(_COLUMNS, brief, title, caption, on_page=False, in_terminal=True, groups=marks),
        Sheet(_MORE, whole, caption=_caption(results, summaries), groups=marks),
    )


def data_section(about: About, examples: np.ndarray) -> Section:
    """The first test images as the model was shown them, and how they were prepared."""
    data = about.dataset
    prepared = ", ".join(f"{k} {v}" for k, v in data.get("preprocessing", {}).items() if v)
    conversion = f"; {data['conversion']}" if data.get("conversion") else ""
    pictures = {"examples": _examples(examples)} if len(examples) else {}
    return Section(
        "The images",
        f"As the model is shown them, before its own normalisation: {prepared}{conversion}.",
        pictures=pictures,
    )


def _brief(
    line: Mapping[str, Any], title: str, unit: str, images: str, cost: str
) -> list[Cell | str]:
    return [
        title,
        radius(line["value"], unit) if line["value"] else "",
        images,
        rate_cell(line["acc"], line["acc_low"], line["acc_high"]),
        number(line["worst_loss"]),
        number(line["ece"]),
        cost,
    ]


def _whole(line: Mapping[str, Any], title: str, unit: str, images: str) -> list[Cell | str]:
    share = (line["acc"], line["acc_low"], line["acc_high"])
    return [
        title,
        radius(line["value"], unit) if line["value"] else "",
        images,
        rate_cell(*share, bar=True),
        rate_cell(*share),
        *(_with_ends(line, name) for name in ("worst_loss", "ece", "brier", "error_auroc")),
    ]


def _with_ends(line: Mapping[str, Any], name: str) -> Cell:
    """A number with its interval, and a dagger where that is doubtful."""
    cell = number_cell(line[name], line[f"{name}_low"], line[f"{name}_high"])
    doubtful = any(part.startswith(f"{name}: ") for part in _marks(line))
    return replace(cell, small=f"{cell.small} {_DAGGER}".strip()) if doubtful else cell


def _marks(line: Mapping[str, Any]) -> list[str]:
    """`name: why` of every number of a line whose interval is doubtful."""
    return [part for part in line.get("marks", "").split("; ") if part]


def _caption(results: Sequence[ProbeResult], summaries: Mapping[str, Summary]) -> str:
    """What the small figures are, and why some of them are doubtful."""
    tables = [one.table for one in results]
    tables += [table for summary in summaries.values() for table in summary.tables.values()]
    parts = [part for table in tables for line in records(table) for part in _marks(line)]
    reasons = dict.fromkeys(part.partition(": ")[2] for part in parts)
    doubtful = f" {_DAGGER} may not hold: {'; or '.join(reasons)}." if reasons else ""
    return f"Small figures are 95 % intervals.{doubtful}"


def _reported(result: ProbeResult) -> Sheet:
    """The numbers that only this probe has."""
    names = [name for name in result.reported if name in result.table]
    lines = [
        [
            radius(line["value"], result.unit) if line["value"] else "",
            *(_with_ends(line, name) for name in names),
        ]
        for line in records(result.table)
    ]
    columns = ["severity", *(name.replace("_", " ") for name in names)]
    return Sheet(columns, lines, f"{result.title}: numbers of its own", in_terminal=len(names) <= 4)


def _examples(images: np.ndarray) -> Figure:
    with mpl.rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(figsize=(1.1 * len(images), 1.15), layout="constrained")
        for axes, image in zip(
            figure.subplots(1, len(images), squeeze=False)[0], images, strict=True
        ):
            grey = image.shape[-1] == 1
            axes.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255)
            axes.axis("off")
    return figure
