"""Tables of numbers as sheets: how their columns are written, on the page and in the terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.words import ends, number
from pipelines.explain.methods import method_title
from pipelines.report.sections import Cell, Sheet, number_cell, rate_cell

Line = Mapping[str, Any]
Column = tuple[str, str, str]
"""Heading, a key of `KINDS`, and the table's column."""


def sheets_of(
    table: pd.DataFrame, columns: Sequence[Column], title: str = "", brief: Sequence[str] = ()
) -> list[Sheet]:
    """The whole table for the page, and for the terminal the columns of it that fit there.

    Args:
        table: a line each.
        columns: of the page.
        title: over the terminal's table.
        brief: headings of the terminal's columns; none prints nothing.
    """
    lines = records(table)
    cells = [{head: KINDS[kind](line, name) for head, kind, name in columns} for line in lines]
    whole = Sheet([head for head, *_ in columns], [list(line.values()) for line in cells])
    short = [[line[head] for head in brief] for line in cells]
    printed = Sheet(brief, short, title, on_page=False, in_terminal=True)
    return [whole, printed] if brief else [whole]


def _count(line: Line, name: str) -> str:
    return f"{line[name]:,.0f}" if line[name] == line[name] else ""


def _ends(line: Line, name: str) -> tuple[float, float]:
    low, high = (line.get(f"{name}_{end}", float("nan")) for end in ("low", "high"))
    return low, high


KINDS: dict[str, Callable[[Line, str], Cell | str]] = {
    "text": lambda line, name: str(line[name]),
    "count": _count,
    "number": lambda line, name: number_cell(line[name], *_ends(line, name)),
    # Good models are told apart in the fourth digit of these.
    "fine": lambda line, name: Cell(number(line[name], 4), ends(*_ends(line, name), digits=4)),
    "percent": lambda line, name: rate_cell(line[name], *_ends(line, name)),
    "points": lambda line, name: Cell(
        number(100 * line[name], 1), ends(*_ends(line, name), scale=100, digits=1)
    ),
    "layer": lambda line, name: str(line[name]).removeprefix("model."),
    "method": lambda line, name: method_title(line[name]),
    "setting": lambda line, name: f"{line[name]} {line['value']:.3g}".removesuffix(" 0"),
    "delay": lambda line, name: _count(line, name) or f"none in {line['images']:,.0f}",
}
"""How a cell is made of a line; numbers and shares have their interval where there is one."""
