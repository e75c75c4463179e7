"""Two matrices side by side: what both were asked, and the paired differences."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from callbacks.reductions import compare
from callbacks.results import records
from callbacks.statistics import Interval
from pipelines.report.sections import Cell, Section, Sheet, change_cell
from pipelines.transfer.cell import Outcome, Transfer
from pipelines.transfer.grid import Grid


def common(one: Grid, other: Grid) -> tuple[Grid, Grid, list[str]]:
    """Restricts two grids to cells and test images that both have, measured in the same way.

    Models are matched by name where there are several; two single ones stand against each other.

    Returns:
        The two, and what was left out.
    """
    named = len(one.models) > 1 or len(other.models) > 1
    mine, its = _cells(one, named), _cells(other, named)
    reasons = {place: _difference(place, one, other) for place in (*mine, *its)}
    kept = [place for place in mine if place in its and not reasons[place]]
    notes = list(dict.fromkeys(reason for reason in reasons.values() if reason))
    if alone := sum(not reason for reason in reasons.values()) - len(kept):
        notes.append(f"{alone} cells are left out: only one of the two has them.")
    pairs = [_same_images(mine[place], its[place]) for place in kept]
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return replace(one, outcomes=first), replace(other, outcomes=second), notes


def comparison(one: Grid, other: Grid, notes: Sequence[str]) -> list[Section]:
    """Paired differences of two grids that were restricted to what is common."""
    keys, named = list(one.cells_by_key), len(one.models) > 1
    lines = records(compare(_rows(one), _rows(other))) if keys else []
    widest = max([abs(line[end]) for line in lines for end in ("low", "high")] or [0]) or 1.0
    cells = []
    for line in lines:
        key = keys[int(line["setting"])]
        change = Interval(line["difference"], line["low"], line["high"])
        cells.append([
            *([key.model] if named else []), key.data, key.mode,
            "" if key.mode == "untouched" else key.fraction, f"{line['n']:,}",
            change_cell(change), Cell("", shift=change, widest=widest), f"{line['p_holm']:.2g}",
        ])  # fmt: skip
    columns = ["data", "mode", "labelled", "images", "points", "worse · better", "p"]
    sheet = Sheet([*(["model"] if named else []), *columns], cells, in_terminal=True)
    text = (
        "How many points of accuracy the second has more (or fewer) than the first on the same "
        "images, averaged over seeds, with the paired 95 % interval."
    )
    title = f"{other.title} against {one.title}" if keys else "Nothing in common"
    return [Section(title, text, sheets=[sheet], notes=notes)]


def _cells(grid: Grid, named: bool) -> dict[Transfer, Outcome]:
    """Cells that succeeded by where they stand, without the model unless it is `named`."""
    cells = [outcome for outcome in grid.outcomes if outcome.status == "ok"]
    return {o.transfer if named else o.transfer._replace(model=""): o for o in cells}


def _difference(place: Transfer, one: Grid, other: Grid) -> str:
    """Why the cells of one place cannot be compared; nothing where they can."""
    data, mode = place.data, place.mode
    if one.images.get(data) != other.images.get(data) and data in {*one.images} & {*other.images}:
        return f"{data} is left out: the two were tested on other images."
    if one.asked.get(mode) != other.asked.get(mode) and mode in {*one.asked} & {*other.asked}:
        return f"{mode} is left out: the two were trained or measured otherwise."
    return ""


def _same_images(one: Outcome, other: Outcome) -> tuple[Outcome, Outcome]:
    """Keeps the rows of the test images that both have."""
    both = one.rows[["index"]].merge(other.rows[["index"]])
    return replace(one, rows=one.rows.merge(both)), replace(other, rows=other.rows.merge(both))


def _rows(grid: Grid) -> pd.DataFrame:
    """Rows of all cells under the number of their key; seeds are draws, which are averaged."""
    return pd.concat([
        o.rows[["index", "correct"]].assign(setting=f"{i:06d}", value=0.0, draw=o.transfer.seed)
        for i, outcomes in enumerate(grid.cells_by_key.values())
        for o in outcomes
    ])  # fmt: skip
