"""The sections of an evaluation's page: each family, and every number."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from callbacks.family import Curve, Family, Summary
from callbacks.results import ProbeResult, records
from callbacks.words import number, radius
from pipelines.evaluate.gallery import galleries, saved_sheet
from pipelines.report.curves import coloured, curve_figures
from pipelines.report.sections import DAGGER, Cell, Section, Sheet, number_cell, rate_cell

_COLUMNS = ("probe", "severity", "images", "accuracy %", "worst loss", "ECE", "forwards/image")
_MORE = (
    "probe", "severity", "images", "0 · accuracy · 100", "accuracy %", "worst loss",
    "ECE", "Brier", "error AUROC", "passes an image",
)  # fmt: skip


def curve_of(result: ProbeResult, clean: ProbeResult | None) -> Curve:
    """A probe's curve, with the undisturbed numbers on the same samples where it begins."""
    start: dict[str, float] = {}
    position = ", " in result.unit  # such as `layer, first to last`: nothing stands at 0
    if clean is not None and not position:
        rows = clean.rows[clean.rows["index"].isin(result.rows["index"])]
        start = {name: float(rows[name].mean()) for name in ("correct", "loss")}
    draws = _draws(result.rows)
    return Curve(result.title, result.unit, result.table, start, draws=draws, places=result.places)


def _draws(rows: pd.DataFrame) -> Sequence[pd.DataFrame]:
    """The curve of each random draw; none where there is one draw."""
    if "draw" not in rows or rows["draw"].nunique() < 2:
        return ()
    settings = rows.groupby(["draw", "severity"], as_index=False)
    means = settings.agg(value=("value", "first"), acc=("correct", "mean"))
    return [draw for _, draw in means.groupby("draw")]


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
    alike: dict[tuple[str, ...], list[ProbeResult]] = {}
    for result in results:
        if result.reported and len(result.rows):
            alike.setdefault(result.reported, []).append(result)
    sheets = [_reported(family, names, found) for names, found in alike.items()]
    saved = saved_sheet(results)
    return Section(
        family.title,
        family.text,
        {**figures, **summary.figures, **galleries(family.name, results)},
        sheets=[*sheets, *([saved] if saved else [])],
        terms=family.terms,
    )


def number_sheets(
    results: Sequence[ProbeResult], summaries: Mapping[str, Summary], title: str
) -> tuple[Sheet, Sheet]:
    """Every number of every probe: short for the terminal, and whole for the page."""
    brief: list[list[Cell | str]] = []
    whole: list[list[Cell | str]] = []
    groups, all_groups = [], []
    for title, unit, table, result in _tables(results, summaries):
        all_groups.append(len(whole))
        is_short = result is None or not result.is_list
        groups += [len(brief)] if is_short else []
        for line in records(table):
            step, cost, passes = line["severity"], "", ""
            severity = radius(line["value"], unit) if line["value"] else ""
            images = f"{line['n']:,}"
            if result is not None:
                images = f"{result.at(step)['index'].nunique():,}"
                severity = result.said(line["value"])
                cost = number(result.cost(step), 1)
                passes = f"{cost} + {number(result.cost(step, 'backwards'), 1)}"
            if is_short:
                brief.append(_brief(line, title, severity, images, cost))
            whole.append([*_whole(line, title, severity, images), passes])
    caption = "in brackets: 95 % interval over images, and over draws where there are several"
    shown = {"on_page": False, "in_terminal": True, "groups": frozenset(groups)}
    return (
        Sheet(_COLUMNS, brief, title, caption, **shown),
        Sheet(_MORE, whole, caption=_caption(results, summaries), groups=frozenset(all_groups)),
    )


def _tables(
    results: Sequence[ProbeResult], summaries: Mapping[str, Summary]
) -> Iterator[tuple[str, str, pd.DataFrame, ProbeResult | None]]:
    """Title, unit and table of every probe, and after those of a family what is made of them."""
    for family in dict.fromkeys(result.family for result in results):
        for result in results:
            if result.family == family:
                yield result.title, result.unit, result.table, result
        if family in summaries:
            for name, table in summaries[family].tables.items():
                curves = summaries[family].curves
                unit = next((curve.unit for curve in curves if curve.table is table), "")
                yield name, unit, table, None


def _brief(
    line: Mapping[str, Any], title: str, severity: str, images: str, cost: str
) -> list[Cell | str]:
    return [
        title,
        severity,
        images,
        rate_cell(line["acc"], line["acc_low"], line["acc_high"]),
        number(line["worst_loss"]),
        number(line["ece"]),
        cost,
    ]


def _whole(line: Mapping[str, Any], title: str, severity: str, images: str) -> list[Cell | str]:
    share = (line["acc"], line["acc_low"], line["acc_high"])
    return [
        title,
        severity,
        images,
        rate_cell(*share, bar=True),
        rate_cell(*share),
        *(_with_ends(line, name) for name in ("worst_loss", "ece", "brier", "error_auroc")),
    ]


def _with_ends(line: Mapping[str, Any], name: str) -> Cell:
    """A number with its interval, and a dagger where that is doubtful."""
    cell = number_cell(line[name], line[f"{name}_low"], line[f"{name}_high"])
    doubtful = any(part.startswith(f"{name}: ") for part in _marks(line))
    return replace(cell, small=f"{cell.small} {DAGGER}".strip()) if doubtful else cell


def _marks(line: Mapping[str, Any]) -> list[str]:
    """`name: why` of every number of a line whose interval is doubtful."""
    return [part for part in line.get("marks", "").split("; ") if part]


def _caption(results: Sequence[ProbeResult], summaries: Mapping[str, Summary]) -> str:
    """What the small figures are, and why some of them are doubtful."""
    tables = [one.table for one in results]
    tables += [table for summary in summaries.values() for table in summary.tables.values()]
    parts = [part for table in tables for line in records(table) for part in _marks(line)]
    reasons = dict.fromkeys(part.partition(": ")[2] for part in parts)
    doubtful = f" {DAGGER} may not hold: {'; or '.join(reasons)}." if reasons else ""
    told = "Small figures are 95 % intervals; passes are forwards + backwards."
    return f"{told}{doubtful}"


def _reported(family: Family, names: Sequence[str], results: Sequence[ProbeResult]) -> Sheet:
    """The numbers that only some probes of a family have."""
    names = [name for name in names if name in results[0].table]
    lines: list[list[Cell | str]] = []
    groups = []
    for result in results:
        groups.append(len(lines))
        lines += [
            [
                result.title,
                result.said(line["value"]),
                f"{result.at(line['severity'])['index'].nunique():,}",
                *(_with_ends(line, name) for name in names),
            ]
            for line in records(result.table)
        ]
    columns = ["probe", "severity", "images", *(family.heading(name) for name in names)]
    if not any(line[1] for line in lines):
        columns, lines = [columns[0], *columns[2:]], [[line[0], *line[2:]] for line in lines]
    headings = [family.heading(name) for name in names[:2]]
    title = f"{family.title}: {', '.join(headings)}{', ...' if len(names) > 2 else ''}"
    shown, groups = len(names) <= 4, frozenset(groups)
    return Sheet(columns, lines, title, in_terminal=shown, groups=groups)
