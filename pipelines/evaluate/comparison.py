"""Two evaluations side by side: what both were asked, and the paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Curve
from callbacks.reductions import compare
from callbacks.results import ProbeResult, records
from callbacks.statistics import Interval
from pipelines.report.curves import Line, curve_figures
from pipelines.report.figures import COLOURS
from pipelines.report.sections import Cell, Section, Sheet, change_cell

_STYLES = ("-", "--", ":", "-.", (0, (1, 3)))
_KEYS = ("setting", "value", "index")
Side = tuple[str, Mapping[str, Sequence[Curve]], Sequence[ProbeResult]]
"""Title, curves by family, and results of one of the two."""
Overlaid = tuple[str, Mapping[str, Sequence[Curve]]]
"""Title and curves by family."""


def common(
    one: Sequence[ProbeResult], other: Sequence[ProbeResult]
) -> tuple[list[ProbeResult], list[ProbeResult], list[str]]:
    """Restricts two lists of results to probes, settings and images that both have.

    Returns:
        The two lists, and what was left out.
    """
    theirs = {result.name: result for result in other}
    mine: list[ProbeResult] = []
    its: list[ProbeResult] = []
    for result in one:
        match = theirs.get(result.name)
        if match is None or match.algorithm != result.algorithm:
            continue
        pair = _restricted(result, match)
        if len(pair[0].rows):
            mine.append(pair[0])
            its.append(pair[1])
    notes = [*_unmatched([*one, *other], mine), *_cut([*one, *other], mine)]
    return mine, its, list(dict.fromkeys(notes))


def same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two manifests are of the same test images in the same order."""
    return one["splits"]["test"]["digest"] == other["splits"]["test"]["digest"]


def comparison(
    one: Side, other: Side, same: bool, notes: Sequence[str], classes: int
) -> list[Section]:
    """Curves over each other and paired differences.

    Args:
        one: the first.
        other: the second.
        same: whether both were measured on the same images.
        notes: what was left out.
        classes: of the models.
    """
    figures = overlaid([one[:2], other[:2]], classes)
    title = f"{other[0]} against {one[0]}, image by image"
    if not same:
        notes = ["They were measured on other images, so no test can pair them.", *notes]
        return [Section(title, figures=figures, notes=notes)]
    text = (
        f"How many points of accuracy {other[0]} has more (or fewer) than {one[0]} on the same "
        "images, with the paired 95 % interval."
    )
    table = paired_table(one[2], other[2])
    return [Section(title, text, figures, sheets=[paired_sheet(table, True)], notes=notes)]


def _unmatched(whole: Sequence[ProbeResult], kept: Sequence[ProbeResult]) -> Iterator[str]:
    names = {result.name for result in kept}
    titles = list(dict.fromkeys(result.title for result in whole if result.name not in names))
    if titles:
        are = "is" if len(titles) == 1 else "are"
        yield f"{', '.join(titles)} {are} left out: the two were not asked alike."


def _cut(whole: Sequence[ProbeResult], kept: Sequence[ProbeResult]) -> Iterator[str]:
    values = {result.name: set(result.values.values()) for result in kept}
    for result in whole:
        lost = set(result.values.values()) - values.get(result.name, set(result.values.values()))
        if lost:
            gone = ", ".join(f"{value:.3g}" for value in sorted(lost))
            yield f"{result.title} at {gone} is left out: only one of the two has it."


def _restricted(one: ProbeResult, other: ProbeResult) -> tuple[ProbeResult, ProbeResult]:
    """Keeps the rows whose setting, severity and image the other has too."""
    keys = [pd.MultiIndex.from_arrays([r.rows[k] for k in _KEYS]) for r in (one, other)]
    return (
        replace(one, rows=one.rows[keys[0].isin(keys[1])]),
        replace(other, rows=other.rows[keys[1].isin(keys[0])]),
    )


def overlaid(sides: Sequence[Overlaid], classes: int) -> dict[str, Figure]:
    """Colours are models, styles are probes; of more models than colours, styles are models too.

    Args:
        sides: of each model its title and its curves by family.
        classes: of the models.
    """
    figures: dict[str, Figure] = {}
    for family in sides[0][1]:
        lines = []
        for place, (title, curves) in enumerate(sides):
            again, colour = divmod(place, len(COLOURS))
            for i, curve in enumerate(curves.get(family, ())):
                label = f"{title}: {curve.label}"
                style = _STYLES[(i + again) % len(_STYLES)]
                band = i == 0 and len(sides) <= len(COLOURS)
                lines.append(Line(replace(curve, label=label), COLOURS[colour], style, band))
        figures |= curve_figures(f"compared_{family}", lines, classes)
    return figures


def paired_table(one: Sequence[ProbeResult], other: Sequence[ProbeResult]) -> pd.DataFrame:
    """Differences of accuracy, other minus one, by probe and setting; see `compare`.

    Checks of other numbers, such as those for gradient masking, are no accuracies to compare.

    Args:
        one: from `common`.
        other: the same probes of the other model.
    """
    tables = []
    for result, match in zip(one, other, strict=True):
        if not result.is_list:
            table = compare(result.rows, match.rows)
            said = [result.said(value) for value in table["value"]]
            about = {"title": result.title, "unit": result.unit, "family": result.family}
            tables.append(table.assign(**about, said=said))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def paired_sheet(table: pd.DataFrame, in_terminal: bool = False) -> Sheet:
    """Lays out what `paired_table` makes, each difference also as a line with its interval."""
    lines = records(table)
    widest = max([abs(line[end]) for line in lines for end in ("low", "high")] or [0]) or 1.0
    columns = ("probe", "severity", "images", "points", "worse · better", "p")
    return Sheet(columns, [_line(line, widest) for line in lines], in_terminal=in_terminal)


def _line(line: Mapping[str, Any], widest: float) -> list[Cell | str]:
    change = Interval(line["difference"], line["low"], line["high"])
    return [
        line["title"],
        line["said"],
        f"{line['n']:,}",
        change_cell(change),
        Cell("", shift=change, widest=widest),
        f"{line['p_holm']:.2g}",
    ]
