"""The page of a data audit: galleries, and a table for each question."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from callbacks.results import records
from callbacks.words import DASH, number
from pipelines.audit.gallery import label_figure, odd_figure, twin_figure
from pipelines.audit.lines import told
from pipelines.audit.measure import Measured
from pipelines.audit.odd_images import RULES
from pipelines.report.figures import COLOURS, LOOK, drawn
from pipelines.report.sections import Cell, Section, Sheet, number_cell, rate_cell

_TERMS = {
    "Exact": "Every pixel equal after decoding.",
    "Suspected": "By confident learning (Northcutt et al. 2021), pruned by noise rate: the label "
    "is less probable than another one, as often as the classes' noise rates say.",
    "Planted": "A share of 3 % of the labels was changed to others at random in a copy, to see how "
    "many are found (recall). Real errors, between classes that are alike, are harder to find.",
    "Shift": "AUROC of a classifier that learnt from one half of both splits to tell them apart, "
    "on the other half; p by Mann & Whitney. Twins between the splits make it smaller.",
    "Cramér's V": "How different the shares of the classes are, 0 to 1; p by chi-square.",
}
_MOST_CLASSES = 40


def sections_of(
    found: Measured, accuracy: pd.DataFrame | None, classes: Sequence[str], title: str
) -> list[Section]:
    """Figures and tables.

    Args:
        found: by the audit.
        accuracy: with and without twins; None without a model.
        classes: names.
        title: of the terminal's table.
    """
    names = [str(name) for name in classes]
    return [
        Section("", sheets=list(_terminal(found, title))),
        *_twins(found, accuracy, names),
        Section(
            "Labels that are suspected",
            "The twelve that probabilities speak against most, test images first.",
            pictures=_gallery(found, "labels", lambda p: label_figure(p, found.findings, names)),
            sheets=[_judged(found)],
            terms=_TERMS,
        ),
        _classes(found),
        _between(found),
        *_odd(found),
    ]


def _terminal(found: Measured, title: str) -> Iterator[Sheet]:
    shown: dict[str, Any] = {"on_page": False, "in_terminal": True}
    columns = ("split", "images", "exact", "near", "other label", "suspected %", "largest/smallest")
    lines = [
        [
            line["split"], f"{line['images']:,}", f"{line['exact']:,}", f"{line['near']:,}",
            f"{line['other_label']:,}",
            rate_cell(*told(line, "suspects")) if line["believed"] else Cell(DASH),
            number_cell(*told(line, "ratio")),
        ]
        for line in records(found.splits)
    ]  # fmt: skip
    yield Sheet(columns, lines, title, "Copies within a split.", **shown)
    if len(found.between):
        yield _pairs_sheet(found, **shown)


def _pairs_sheet(found: Measured, **options: Any) -> Sheet:
    columns = (
        "of", "in", "exact", "near", "other label", "twins %", "shift AUROC", "p", "Cramér's V",
        "p classes",
    )  # fmt: skip
    lines = [
        [
            line["second"], line["first"], f"{line['exact']:,}", f"{line['near']:,}",
            f"{line['other_label']:,}", rate_cell(*told(line, "twins")),
            number_cell(*told(line, "auroc")), _p(line["p"]),
            number_cell(*told(line, "cramers_v")), _p(line["label_p"]),
        ]
        for line in records(found.between)
    ]  # fmt: skip
    return Sheet(columns, lines, caption="Twins of a split's images in another.", **options)


def _twins(found: Measured, accuracy: pd.DataFrame | None, names: list[str]) -> Iterator[Section]:
    text = f"Near means {found.facts['rule']}."
    sheets = [_pairs_sheet(found)] if len(found.between) else []
    if accuracy is not None:
        lines = [
            [line["images"], f"{line['n']:,}", rate_cell(*told(line, "value"))]
            for line in records(accuracy)
        ]
        sheets.append(Sheet(("test images", "n", "accuracy %"), lines, "What twins lend the model"))
    shown = _gallery(found, "twins", lambda p: twin_figure(p, found.findings, names))
    yield Section("Twins", text, pictures=shown, sheets=sheets)


def _judged(found: Measured) -> Sheet:
    columns = (
        "split",
        "judged",
        "by",
        "right %",
        "suspected",
        "%",
        "planted found %",
        "precision %",
    )
    lines = [
        [
            line["split"], f"{line['judged']:,}", line["by"], rate_cell(*told(line, "judge_acc")),
            f"{line['suspected']:,}" if line["believed"] else "not judged",
            rate_cell(*told(line, "suspects")) if line["believed"] else Cell(DASH),
            rate_cell(*told(line, "planted_recall")), rate_cell(*told(line, "planted_precision")),
        ]
        for line in records(found.splits)
    ]  # fmt: skip
    return Sheet(columns, lines)


def _classes(found: Measured) -> Section:
    splits = [str(name) for name in found.splits["split"]]
    lines = [[line["class"], *(f"{line[s]:,}" for s in splits)] for line in records(found.classes)]
    text = "; ".join(
        f"{line['split']}: largest by smallest {number(line['ratio'], 2)}, as diverse as "
        f"{number(line['effective'], 1)} equal classes"
        for line in records(found.splits)
    )
    figures = {"class_counts": _bars(found.classes, splits)}
    if len(found.classes) > _MOST_CLASSES:
        figures = {}
    return Section("Classes", f"{text}.", figures, sheets=[Sheet(("class", *splits), lines)])


def _between(found: Measured) -> Section:
    lines = [
        [
            f"{line['first']}, {line['second']}", line["statistic"], number(line["mean"]),
            number(line["other_mean"]),
            number_cell(*(line[f"auroc{end}"] for end in ("", "_low", "_high"))),
            number(line["ks"]), _p(line["p"]),
        ]
        for line in records(found.moved)
    ]  # fmt: skip
    columns = (
        "splits",
        "statistic",
        "mean",
        "mean of other",
        "AUROC",
        "KS distance",
        "p, corrected",
    )
    return Section(
        "What differs between the splits",
        "Statistics of the images one by one; p by Kolmogorov & Smirnov, corrected by Holm.",
        sheets=[Sheet(columns, lines)] if lines else [],
    )


def _odd(found: Measured) -> Iterator[Section]:
    counts = found.findings.groupby(["split", "finding"]).size()
    lines = [
        [split, rule, said, f"{counts.get((split, rule), 0):,}"]
        for split in found.splits["split"]
        for rule, said in RULES.items()
        if counts.get((split, rule), 0)
    ]
    if lines:
        yield Section(
            "Images that are hardly any",
            pictures=_gallery(found, "odd", lambda p: odd_figure(p, found.findings)),
            sheets=[Sheet(("split", "finding", "rule", "images"), lines)],
        )


def _gallery(found: Measured, name: str, make: Any) -> Mapping[str, Figure]:
    pixels = found.pictures[name]
    return {f"audit_{name}": make(pixels)} if len(pixels) else {}


def _bars(classes: pd.DataFrame, splits: list[str]) -> Figure:
    figure, axes = drawn(height=1.4 + 0.28 * len(classes))
    with mpl.rc_context(LOOK):
        for i, split in enumerate(splits):
            place = [row + 0.26 * (i - 1) for row in range(len(classes))]
            shares = 100 * classes[split] / classes[split].sum()
            axes.barh(place, shares, height=0.24, color=COLOURS[i], label=split)
        axes.set_yticks(range(len(classes)), classes["class"])
        axes.invert_yaxis()
        axes.set(title="Share of each class", xlabel="images (%)")
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _p(value: float) -> Cell:
    return Cell(f"{value:.2g}" if value == value else DASH)
