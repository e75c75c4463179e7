"""The summary of `assay explain` in the terminal."""

import sys
from collections.abc import Sequence

import pandas as pd
import rich.box
from rich.console import Console
from rich.table import Table

from callbacks.monitoring.outliers import score_title
from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import ends, number, percent, rate_with_ends
from pipelines.explain.result import Explanation


def print_explanation(of: Explanation) -> None:
    """Prints the score with its parts, then outliers, failures and drift."""
    plain = not sys.stdout.isatty()
    console = Console(file=sys.stdout, width=110 if plain else None)
    box = rich.box.ASCII2 if plain else rich.box.SIMPLE_HEAD
    sections = [
        _score(of),
        _methods(of.tables["methods"]),
        _changes(of.tables["changes"]),
        _failures(of),
        _outliers(of.tables["outliers"]),
        _drifts(of),
    ]
    for title, columns, lines in sections:
        if lines:
            table = Table(title=title, title_justify="left", box=box)
            for i, column in enumerate(columns):
                table.add_column(column, justify="right" if i else "left", no_wrap=True)
            for line in lines:
                table.add_row(*line)
            console.print(table)
    for note in of.notes:
        console.print(f"Note: {note}", highlight=False)


Section = tuple[str, Sequence[str], list[tuple[str, ...]]]


def _score(of: Explanation) -> Section:
    title = f"{of.model['name']} on {of.data['name']}: monitorability"
    columns = ("part", "value", "95 % interval", "measured", "random", "ideal", "n")
    if of.score is None:
        return title, columns, []
    lines = [
        (one.name, *_with_ends(one.value), *map(number, (one.measured, one.control, one.ideal)),
         f"{one.n:,}")
        for one in of.score.parts
    ]  # fmt: skip
    total = ("mean of the parts", *_with_ends(of.score.value), "", "", "", "")
    return title, columns, [*lines, total]


def _failures(of: Explanation) -> Section:
    columns = ("setting", "severity", "images", "errors", "error AUROC", "excess AURC", "ECE")
    lines = [
        (
            str(line["setting"]), f"{line['value']:.3g}" if line["value"] else "",
            f"{line['n']:,}", f"{line['errors']:,}", number(line["error_auroc"]),
            number(line["excess_aurc"], 4), number(line["ece"]),
        )
        for line in records(of.tables["failure"])
    ]  # fmt: skip
    return "Knowing when it is wrong", columns, lines


def _outliers(table: pd.DataFrame) -> Section:
    kinds = list(dict.fromkeys(table["outliers"]))
    wide = table.pivot_table("auroc", "score", "outliers", sort=False)[kinds]
    lines = [
        (score_title(str(name)), *(number(value) for value in wide.loc[name]))
        for name in wide.index
    ]
    return "Anomalous input, AUROC", ("score", *kinds), lines


def _drifts(of: Explanation) -> Section:
    lines = [
        (
            str(line["shift"]),
            f"{percent(line['power'])} %",
            f"{line['delay']:,.0f}" if line["delay"] == line["delay"] else "none",
        )
        for line in records(of.tables["drifts"].astype({"delay": float}))
    ]
    title = "Drift: " + "; ".join(
        f"{one.title.lower()} {rate_with_ends(one.number)} %"
        for name, one in of.headline.items()
        if name in ("false_alarm_rate", "monitor_overhead")
    )
    return title, ("shift", "windows with alarm", "images to first alarm"), lines


def _methods(table: pd.DataFrame) -> Section:
    columns = ("method", "forwards", "srg", "95 % interval", "most first", "least first", "Gini")
    lines = [
        (
            f"{line['method']}{' (control)' if line['control'] else ''}", f"{line['forwards']:,}",
            number(line["srg"]), ends(line["srg_low"], line["srg_high"]), number(line["most"]),
            number(line["least"]), number(line["sparseness"]),
        )
        for line in records(table)
    ]  # fmt: skip
    return "Methods: symmetric relevance gain, removal curves, sparseness", columns, lines


def _changes(table: pd.DataFrame) -> Section:
    columns = ("version", "images", "agreement", "95 % interval", "srg", "other answer")
    lines = [
        (
            str(line["version"]), f"{line['n']:,}", number(line["agreement"]),
            ends(line["agreement_low"], line["agreement_high"]), number(line["srg"]),
            f"{percent(line['changed'])} %",
        )
        for line in records(table)
    ]  # fmt: skip
    return "Explanations before and after: rank correlation with before", columns, lines


def _with_ends(value: Interval) -> tuple[str, str]:
    return number(value.value), ends(value.low, value.high)
