"""How the lines of a matrix's tables are shown."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from callbacks.statistics import Interval
from callbacks.words import DASH, percent
from pipelines.report.sections import Cell, Sheet, change_cell, rate_cell
from pipelines.transfer.grid import Grid, Key
from pipelines.transfer.lines import Line, interval_of
from pipelines.transfer.recipe import MODES


def sheet_by_task(
    grid: Grid, keys: Iterable[Key], cell: Callable[[Key], Cell], more: Sequence[str] = (),
    further: Callable[[Key], list[str]] = lambda key: [],
) -> Sheet:  # fmt: skip
    """A line for each model, mode and fraction, a column for each data set."""
    models = _named(grid)[:-1]
    lines = []
    for key in sorted(
        dict.fromkeys(key._replace(data="") for key in keys),
        key=lambda key: (grid.models.index(key.model), list(MODES).index(key.mode)),
    ):
        fraction = "" if key.mode == "untouched" else key.fraction
        by_task = [cell(key._replace(data=task)) for task in grid.tasks]
        lines.append([*([key.model] if models else []), key.mode, fraction, *by_task,
                      *further(key)])  # fmt: skip
    return Sheet([*models, "mode", "labelled", *grid.tasks, *more], lines)


def sheet_by_pair(
    grid: Grid, lines: Sequence[Line], columns: Sequence[str],
    cells: Callable[[Line], Sequence[Cell | str]], **options: Any,
) -> Sheet:  # fmt: skip
    """A sheet whose lines begin with model and data, each named once and then left out."""
    pairs = [[line[name] for name in _named(grid)] for line in lines]
    first = [i for i, pair in enumerate(pairs) if i == 0 or pair != pairs[i - 1]]
    shown = [
        [*(pair if i in first else ("",) * len(pair)), *cells(line)]
        for i, (pair, line) in enumerate(zip(pairs, lines, strict=True))
    ]
    return Sheet([*_named(grid), *columns], shown, groups=frozenset(first), **options)


def _named(grid: Grid) -> list[str]:
    """Columns that name a pair: a single model is named by the page."""
    return ["model", "data"] if len(grid.models) > 1 else ["data"]


def mode_of(line: Line) -> Cell:
    """With the standard deviation between seeds, where there are several."""
    spread = f"{line['seeds']} seeds ±{percent(line['seed_spread'])}"
    return Cell(line["mode"], spread if line["seeds"] > 1 else "")


def labelled_of(line: Line) -> str:
    """How many images were learnt from."""
    return f"{line['samples']:,}" if line["samples"] else ""


def share_of(line: Line, name: str) -> Cell:
    """A share in per cent, or a dash."""
    return rate_cell(*interval_of(line, name)) if is_known(line, name) else Cell(DASH)


def points_lost(line: Line, name: str) -> Cell:
    """Points that were forgotten; an untouched backbone has forgotten none, for certain."""
    value, low, high = (100 * end for end in interval_of(line, name))
    ends = f"{low:.1f} to {high:.1f}" if math.isfinite(low) else ""
    return Cell(f"{value:.1f}", ends) if is_known(line, name) else Cell(DASH)


def change_of(line: Line, name: str) -> Cell:
    """In points, where there is a before."""
    return change_cell(interval_of(line, f"change_{name}")) if before_of(line) else Cell("")


def before_of(line: Line) -> str:
    """The mode that it is compared with; a table has NaN where there is none."""
    before = line.get("before")
    return before if isinstance(before, str) else ""


def is_known(line: Line, name: str) -> bool:
    """Whether a line has a number of that name."""
    value = line.get(name)
    return isinstance(value, float) and math.isfinite(value)


def images(count: float) -> str:
    """A number of labelled images to two digits, which is more than a carried-on curve knows."""
    return f"{float(f'{count:.2g}'):,.0f}"


def images_ends(count: Interval) -> str:
    """Ends of an interval of labelled images; the upper one may have no limit."""
    high = "no limit" if math.isinf(count.high) else images(count.high)
    return f"{images(count.low)} to {high}"
