"""The summary in the terminal."""

from collections.abc import Iterator
from typing import Any

import rich.box
from rich.table import Table

from callbacks.statistics import Interval
from pipelines.evaluate.probe_results import ProbeResult, records
from pipelines.evaluate.result import Evaluation
from pipelines.evaluate.sentences import verdict
from pipelines.report.terminal import plain_console
from pipelines.report.words import ends, number, radius, rate_with_ends

_COLUMNS = ("probe", "severity", "images", "accuracy %", "worst loss", "ECE", "forwards/image")


def print_summary(evaluation: Evaluation) -> None:
    """Prints one line a probe and setting, with intervals and what it cost, then the verdict."""
    console = plain_console()
    model, data = evaluation.model, evaluation.data
    n = data["splits"]["test"]["samples"]
    table = Table(
        title=f"{model['name']} on {data['name']}, {n:,} test images",
        caption="in brackets: 95 % interval over images",
        title_justify="left",
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD if console.is_terminal else rich.box.ASCII2,
    )
    for heading in _COLUMNS:
        table.add_column(heading, justify="left" if heading == "probe" else "right", no_wrap=True)
    for section in _sections(evaluation):
        for line in section:
            table.add_row(*line)
        table.add_section()
    console.print(table)
    for result in evaluation.results:
        for line in records(result.table) if result.reported else ():
            console.print(f"{_own(line, result)}", highlight=False)
    if evaluation.interrupted:
        console.print("Interrupted: these are the rows so far.")
    for sentence in verdict(evaluation):
        console.print(sentence, highlight=False)
    for note in evaluation.notes:
        console.print(f"Note: {note}", highlight=False)


def _own(line: dict[str, Any], result: ProbeResult) -> str:
    """The numbers that only this probe has: `Random bit flips 10: sdc 0.12 [0.08, 0.15], ...`."""
    at = f" {radius(line['value'], result.unit)}" if line["value"] else ""
    said = [
        f"{name} {number(line[name])} [{ends(line[f'{name}_low'], line[f'{name}_high'])}]"
        for name in result.reported
        if name in line
    ]
    return f"{result.title}{at}: {', '.join(said)}"


def _sections(evaluation: Evaluation) -> Iterator[list[tuple[str, ...]]]:
    for result in evaluation.results:
        yield [
            _line(line, result.title, result.unit, number(result.cost(line["severity"]), 1))
            for line in records(result.table)
        ]
    for one in evaluation.attacks:
        if len(one.results) > 1:
            title, unit = f"Worst case ({one.sign})", one.results[0].unit
            yield [_line(line, title, unit) for line in records(one.table)]


def _line(line: dict[str, Any], title: str, unit: str, cost: str = "") -> tuple[str, ...]:
    accuracy = Interval(line["acc"], line["acc_low"], line["acc_high"])
    return (
        title,
        radius(line["value"], unit) if line["value"] else "",
        f"{line['n']:,}",
        rate_with_ends(accuracy),
        number(line["worst_loss"]),
        number(line["ece"]),
        cost,
    )
