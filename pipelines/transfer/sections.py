"""The sections of a matrix's page, of which the terminal prints a part."""

import math
from collections.abc import Sequence

from callbacks.words import DASH, number, percent
from pipelines.report.sections import Cell, Section, Sheet, change_cell, number_cell, rate_cell
from pipelines.transfer.figures import accuracy_figures, drift_figures, learning_figures
from pipelines.transfer.grid import Grid, Key, key_of
from pipelines.transfer.lines import Line, interval_of
from pipelines.transfer.recipe import MODES
from pipelines.transfer.sheets import (
    before_of,
    change_of,
    images,
    images_ends,
    is_known,
    labelled_of,
    mode_of,
    points_lost,
    share_of,
    sheet_by_pair,
    sheet_by_task,
)
from pipelines.transfer.terms import BEFORE, CKA, COST, POWER_LAW, SCORES, SELECTION, TITLES

_MANY_CLASSES = 24
_MODELS = 5
"""From here on resampling models says something of the agreement between score and accuracy."""
_COST = {
    "forgot_old_head": "forgotten, old head",
    "forgot_reprobed": "forgotten, new probe",
    "learnt": "parameters",
    "distance": "distance",
    "cka_last": "CKA, last block",
}


def sections_of(grid: Grid) -> list[Section]:
    """All sections that have something to show; those of one model are on its own page."""
    alone = len(grid.models) == 1
    sections = [_where(grid)]
    if grid.failed:
        sections.insert(0, _failed(grid))
    if grid.cells_by_key:
        drift = drift_figures(grid) if alone else {}
        figures = {**learning_figures(grid), **drift} if alone else {}
        terms = {"CKA": CKA} if drift else {}
        moves = Section("How it learns, and what that moves", "", figures, terms=terms)
        sections += [_recommended(grid), moves, _sufficient(grid), *_numbers(grid)]
    if len(grid.predicted):
        sections.append(_predicted(grid))
    if len(grid.ranking):
        sections.append(_ranking(grid))
    if alone:
        sections.append(_by_class(grid))
    return [s for s in sections if s.sheets or s.figures]


def _failed(grid: Grid) -> Section:
    lines = [[str(outcome.transfer), outcome.error] for outcome in grid.failed]
    return Section(
        "Failed cells",
        "The same command tries them again.",
        sheets=[Sheet(("failed", "why"), lines, on_page=False, in_terminal=True)],
        notes=[f"{cell} failed: {error}" for cell, error in lines],
    )


def _where(grid: Grid) -> Section:
    """Accuracy of every mode on every data set."""
    comparison = {key_of(line): line for line in grid.lines("comparison")}
    indices = {(x["model"], x["mode"], x["fraction"]): x for x in grid.lines("variability")}
    failed = {Key(*outcome.transfer[:4]) for outcome in grid.failed}
    impossible = {key[:2] for key in failed if key.mode == "untouched"}

    def accuracy(key: Key) -> Cell:
        if key in comparison:
            shown = share_of(comparison[key], "acc")
            return Cell(shown.text, shown.small, heat=comparison[key]["acc"])
        lost = key in failed or key[:2] in impossible
        return Cell("failed", tone="worse") if lost else Cell("")

    def over_data(key: Key) -> list[str]:
        by_data = indices.get((key.model, key.mode, key.fraction), {})
        return [percent(by_data.get(name, math.nan)) for name in more.values()]

    several = len(grid.tasks) > 1
    more = {"mean": "average", "spread": "spread", "worst": "worst"} if several else {}
    keys = [Key(*outcome.transfer[:4]) for outcome in grid.outcomes]
    text = "Accuracy in per cent on the test images, averaged over seeds, with its 95 % interval."
    spread = " Spread is the standard deviation between data sets, in points; all weigh the same."
    return Section(
        "Where it can go",
        text + (spread if several else ""),
        accuracy_figures(grid),
        sheets=[sheet_by_task(grid, keys, accuracy, [*more], over_data)],
        terms={x.mode.capitalize(): f"{MODES[x.mode].capitalize()}." for x in keys},
    )


def _recommended(grid: Grid) -> Section:
    def cells(line: Line) -> list[Cell | str]:
        gain = change_cell(interval_of(line, "gain")) if line["best"] else ""
        best = line["best"] or line["mode"]
        return [line["fraction"], line["mode"], percent(line["acc"]), best, gain]

    columns = ("labelled", "mode", "accuracy %", "the best mode", "which has more by")
    return Section(
        "What to do with it",
        "For every data set and number of labelled images the cheapest mode that no other surely "
        "beats (paired 95 % interval over the same test images).",
        sheets=[sheet_by_pair(grid, grid.lines("recommended"), columns, cells)],
    )


def _sufficient(grid: Grid) -> Section:
    """Labelled images that the wanted accuracy takes, or why no number is told."""

    def cells(line: Line) -> list[Cell | str]:
        needed, level = interval_of(line, "needed"), interval_of(line, "level")
        told = Cell(DASH) if line["refused"] else Cell(images(needed.value), images_ends(needed))
        return [line["mode"], told, rate_cell(*level) if is_known(line, "level") else Cell(DASH),
                line["refused"]]  # fmt: skip

    columns = ("mode", "labelled images", "levels at %", "why no number")
    sheet = sheet_by_pair(grid, grid.lines("sufficiency"), columns, cells)
    return Section(
        "How many labels it needs",
        f"Labelled images that {percent(grid.wanted)} % right takes, with the 95 % interval: the "
        "learning curve carried on.",
        sheets=[sheet] if len(grid.sufficiency) else [],
        terms={"Learning curve": POWER_LAW},
    )


def _numbers(grid: Grid) -> list[Section]:
    """Every number before and after, and what that cost the model."""
    lines = grid.lines("comparison")
    columns = ("mode", "labelled", "accuracy %", "change", "against", "macro F1 %")
    first = sheet_by_pair(grid, lines, columns, lambda line: [
        line["mode"], labelled_of(line), share_of(line, "acc"), change_of(line, "acc"),
        before_of(line), percent(line["f1"]),
    ], title="Accuracy, and its paired change", in_terminal=True)  # fmt: skip
    columns = ("mode", "labelled", "F1 %", "change", "precision %", "recall %", "ECE", "loss")
    second = sheet_by_pair(grid, lines, columns, lambda line: [
        mode_of(line), labelled_of(line), share_of(line, "f1"), change_of(line, "f1"),
        share_of(line, "precision"), share_of(line, "recall"),
        *(number_cell(*interval_of(line, name)) for name in ("ece", "loss")),
    ], title="Averages over classes, calibration and loss")  # fmt: skip
    text = (
        "Small figures are 95 % intervals over test images; ± is the standard deviation between "
        "seeds. All numbers are means over seeds."
    )
    terms = {"Labelled": SELECTION, "Change": BEFORE, "Loss": "Cross-entropy, in nats."}
    return [
        Section("Before and after", text, sheets=[first, second], terms=terms),
        _cost(grid, lines),
    ]


def _cost(grid: Grid, lines: Sequence[Line]) -> Section:
    """What was forgotten and moved, and accuracy under probes."""
    names = [name for name in _COST if any(is_known(line, name) for line in lines)]
    ends = [str(name) for name in grid.comparison if str(name).endswith("_acc_low")]
    probes = [name.removesuffix("_low") for name in ends if name != "change_acc_low"]
    moved = [name for name in (*names, *probes) if not name.startswith("forgot")]

    def cells(line: Line) -> list[Cell | str]:
        lost = [points_lost(line, name) for name in names if name.startswith("forgot")]
        way = [number(line[name]) for name in names if not name.startswith("forgot")]
        return [line["mode"], labelled_of(line), *lost, *way, *(share_of(line, p) for p in probes)]

    titles = [_COST[name] for name in names]
    titles += [f"{probe.removesuffix('_acc').replace('_', ' ')} %" for probe in probes]
    shown = [line for line in lines if any(is_known(line, name) for name in moved)]
    sheet = sheet_by_pair(grid, shown, ["mode", "labelled", *titles], cells)
    terms = {x[0].upper() + x[1:]: text for x, text in COST.items() if x in titles}
    if probes:
        terms["Under attack or damage"] = "Accuracy at each probe's usual severity."
    return Section("What it cost the model", sheets=[sheet] if shown else [], terms=terms)


def _predicted(grid: Grid) -> Section:
    """The scores, and how well they rank the models."""
    scores = {name: TITLES[name] for name in SCORES if name in grid.predicted}
    lines, titles = grid.lines("predicted"), list(scores.values())
    sheets = [sheet_by_pair(grid, lines, titles, lambda x: [number(x[name]) for name in scores])]
    if len(grid.agreement):
        sheets.append(_agreement(grid, scores))
    return Section(
        "Predicted transfer",
        "Scores of the labelled images' features, before any training; higher predicts better "
        "transfer. They compare models on the same data set, nothing else.",
        sheets=sheets,
        terms={x[0].upper() + x[1:]: SCORES[name] for name, x in scores.items()},
    )


def _agreement(grid: Grid, scores: dict[str, str]) -> Sheet:
    taus: dict[tuple[str, str], dict[str, Cell]] = {}
    for line in grid.lines("agreement"):
        tau, low, high = interval_of(line, "tau")
        ends = f"{low:+.2f} to {high:+.2f}" if line["models"] >= _MODELS else ""
        taus.setdefault((line["data"], line["mode"]), {})[line["score"]] = Cell(f"{tau:+.2f}", ends)
    return Sheet(
        ["data", "mode", *scores.values()],
        [[*pair, *(cells.get(name, "") for name in scores)] for pair, cells in taus.items()],
        "How well the scores rank the models",
        f"Weighted Kendall τ between score and measured accuracy over "
        f"{grid.agreement['models'].max()} models: 1 ranks them alike, -1 the other way round. "
        f"Intervals are over models; of fewer than {_MODELS} there is none.",
    )


def _ranking(grid: Grid) -> Section:
    ranks = {key_of(line): line for line in grid.lines("ranking")}

    def rank(key: Key) -> Cell:
        if key not in ranks:
            return Cell("")
        value, low, high = interval_of(ranks[key], "rank")
        return Cell(f"{value:g} of {ranks[key]['of']}", f"{low:.2g} to {high:.2g}")

    text = "Rank by accuracy, and the ranks that other test images would have given (95 %)."
    return Section("Among the others", text, sheets=[sheet_by_task(grid, ranks, rank)])


def _by_class(grid: Grid) -> Section:
    """Precision, recall and F1, of the recommended modes with the most labelled images."""
    sheets = []
    for line in grid.lines("recommended"):
        if line["fraction"] == grid.fractions[-1]:
            key = key_of(line)
            key = key._replace(fraction="all") if key.mode == "untouched" else key
            sheets.append(_class_sheet(grid, key, grid.before(key)))
    text = "In per cent, for the mode that is recommended with the most labelled images."
    return Section("By class", text, sheets=sheets)


def _class_sheet(grid: Grid, key: Key, before: Key | None) -> Sheet:
    every = grid.lines("by_class")
    old = [line["f1"] for line in every if before == key_of(line)]
    new = [line for line in every if key == key_of(line)]
    lines = []
    for i, line in enumerate(new[:_MANY_CLASSES]):
        shares = [line[name] for name in ("precision", "recall", "f1")] + old[i : i + 1]
        lines.append([line["class"], f"{line['n']:,}", *(Cell(percent(x), heat=x) for x in shares)])
    left = f"{len(new) - len(lines)} more classes are in tables/by_class.json."
    return Sheet(
        ["class", "images", "precision", "recall", "F1", *(["F1 before"] if before else [])],
        lines,
        f"{key.data}: {key.mode}{f' against {before.mode}' if before else ''}",
        left if len(new) > len(lines) else "",
    )
