"""The page and the terminal of a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import percent
from pipelines.compare.conclusions import where
from pipelines.compare.curves import curve_figures_of
from pipelines.compare.question import Question
from pipelines.report.page import glance, restricted
from pipelines.report.sections import (
    DAGGER,
    Cell,
    Section,
    Sheet,
    change_cell,
    number_cell,
    rate_cell,
)

_IN_TERMINAL = 40
"""Lines; of more only those at the severity that stands for a probe."""
_SHOWN = 12
"""Images of each kind that are named on the page; all are in the table of rows."""
_NAMED = ("label", "prediction_one", "prediction_other")
_TERMS = {
    "points": "Accuracy of the model minus that of the baseline, in percentage points, with the "
    "95 % interval paired by image (Bonett & Price 2012).",
    "fixed, broken": "Images that the baseline gets wrong and the model right, and the reverse.",
    "p (Holm)": "McNemar's exact test on the images that changed sides, corrected for all lines of "
    "the table (Holm 1979): of models that err equally often, fewer than 1 table in 20 has any "
    "line below 0.05. Intervals and losses are not corrected.",
    "rank": "Place among the models, with a 95 % interval: bootstrap over images, the same "
    "resample for all models, a model's differences from all others judged together (Mogstad et "
    "al. 2024). Models whose intervals overlap may change places on other images.",
    "first": "Share of 1,000 resamples of the images in which the model is first.",
}


def question_sections(question: Question, classes: Sequence[str]) -> Iterator[Section]:
    """Sections of one question, in order.

    Args:
        question: with its tables.
        classes: names.
    """
    if question.results:
        yield Section("At a glance", sheets=[glance(question.results)])
        yield from restricted(question.results)[1]
        return
    if len(question.board):
        yield Section(
            "Leaderboard",
            "Every probe at the severity that stands for it, on the same images.",
            sheets=[*_boards(question)],
            terms={name: _TERMS[name] for name in ("rank", "first")},
        )
    yield _difference_section(question)
    models = question.models
    if figures := curve_figures_of(question.curves, models, question.places, len(classes)):
        yield Section("Curves over each other", "One colour a model.", figures)
    if len(question.changed):
        yield _changed_section(question, classes)


def _difference_section(question: Question) -> Section:
    lines, base = records(question.differences), question.models[0]
    headline = [line for line in lines if line["headline"]]
    short = lines if len(lines) <= _IN_TERMINAL else headline
    caption = f"p: exact McNemar, Holm over {len(lines):,} comparisons; in brackets 95 %"
    reasons = {line["marks"].partition(": ")[2] for line in lines if line.get("marks")}
    doubtful = f" {DAGGER} may not hold: {'; or '.join(sorted(reasons))}." if reasons else ""
    if len(short) < len(lines):
        caption += f"; {len(lines) - len(short):,} further severities are on the page"
    caption += f".{doubtful}" if doubtful else ""
    sheets = [
        _sheet(short, question, Sheet([], [], f"Against {base}", caption, False, True)),
        _sheet(lines, question, Sheet([], [])),
    ]
    return Section(
        f"Against {base}, image by image",
        f"Accuracy and loss minus those of {base} on the same images; "
        f"{len(lines):,} comparisons, and p corrected for all of them.{doubtful}",
        sheets=sheets,
        terms={name: _TERMS[name] for name in ("points", "fixed, broken", "p (Holm)")},
    )


def _sheet(lines: Sequence[Mapping[str, Any]], question: Question, form: Sheet) -> Sheet:
    """Differences as a sheet like `form`, which lacks columns and lines."""
    several = len(question.models) > 2
    widest = max([abs(line[end]) for line in lines for end in ("low", "high")] or [0]) or 1.0
    sides = [
        f"{name} %" for name in (question.models[0], "model" if several else question.models[1])
    ]
    columns = ["probe", "severity", "images", *sides, "points", "worse · better"]
    columns += ["fixed", "broken", "p (Holm)", "loss change"]
    cells = [[line["model"]] * several + _line(line, widest) for line in lines]
    groups = {i for i, line in enumerate(lines) if i and line["model"] != lines[i - 1]["model"]}
    columns = ["model"] * several + columns
    return Sheet(
        columns, cells, form.title, form.caption, form.on_page, form.in_terminal, frozenset(groups)
    )


def _line(line: Mapping[str, Any], widest: float) -> list[Cell | str]:
    change = Interval(line["difference"], line["low"], line["high"])
    points = change_cell(change)
    loss = number_cell(*(line[f"loss_{end}"] for end in ("difference", "low", "high")))
    if line.get("marks"):
        loss = replace(loss, small=f"{loss.small} {DAGGER}".strip())
    tone: Literal["", "better", "worse"] = line["verdict"]
    return [
        line["title"],
        line["said"],
        f"{line['n']:,}",
        percent(line["acc_one"]),
        percent(line["acc_other"]),
        Cell(points.text, points.small, tone=tone),
        Cell("", shift=change, widest=widest),
        f"{line['fixed']:,}",
        f"{line['broken']:,}",
        f"{line['p_holm']:.2g}",
        loss,
    ]


def _boards(question: Question) -> Iterator[Sheet]:
    for _, part in question.board.groupby("probe", sort=False):
        lines = records(part)
        at = where(lines[0])
        yield Sheet(
            ["model", "accuracy %", "0 · accuracy · 100", "rank", "first %"],
            [
                [
                    line["model"],
                    rate_cell(line["acc"], line["acc_low"], line["acc_high"]),
                    rate_cell(line["acc"], line["acc_low"], line["acc_high"], bar=True),
                    Cell(str(line["rank"]), f"{line['rank_low']} to {line['rank_high']}"),
                    percent(line["first"]),
                ]
                for line in lines
            ],
            title=f"{at[0].upper()}{at[1:]}, {lines[0]['n']:,} images",
            in_terminal=True,
        )


def _changed_section(question: Question, classes: Sequence[str]) -> Section:
    """Some images that changed sides, under every probe at the severity that stands for it."""
    text = (
        f"{len(question.changed):,} rows in all: rows/{question.room}.changed.parquet among the "
        "artifacts has index, class and both answers of every one"
    )
    if len(question.models) > 2:  # twenty models' lists are read by nobody
        return Section("Which images changed sides", f"{text}.")
    lines = [
        [*key, _image(row), *(classes[int(row[name])] for name in _NAMED)]
        for key, row in _some_changed(question)
    ]
    named = "file" if "file" in question.changed else "index"
    columns = ["where", "change", named, "class", *question.models]
    text = f"{text}; of each kind the first {_SHOWN}:"
    return Section("Which images changed sides", text, sheets=[Sheet(columns, lines)])


def _image(row: Mapping[str, Any]) -> str:
    """An image by its file, where it is one, else by its index."""
    return str(row.get("file") or f"{row['index']:,}")


def _some_changed(question: Question) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """Where and how, and the row, of the first images of each kind."""
    changed = question.changed
    for line in records(question.differences.query("headline")):
        same = changed["probe"] == line["probe"]
        own = changed[same & (changed["severity"] == line["severity"])]
        for change, images in own.groupby("change", sort=True):
            for row in records(images.head(_SHOWN)):
                yield (where(line), str(change)), row
