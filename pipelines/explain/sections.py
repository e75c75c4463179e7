"""The sections of an explanation's page and terminal: one for every stage."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from callbacks.monitoring.outliers import score_title
from callbacks.monitoring.score import PARTS
from callbacks.results import records
from callbacks.words import number, percent, rate_with_ends
from pipelines.evaluate.result import Evaluation
from pipelines.explain.cell import Stage
from pipelines.explain.figures import (
    drift_figure,
    firing_figure,
    linearity_figure,
    outlier_figure,
    risk_figure,
    score_figure,
)
from pipelines.explain.methods import method_title
from pipelines.explain.picture_figures import (
    agreement_figure,
    feature_figure,
    gallery_figure,
    picture,
    unit_figure,
)
from pipelines.explain.summary import interval_of
from pipelines.explain.terms import TERMS
from pipelines.report.sections import Cell, Section, Sheet, number_cell, rate_cell

Line = Mapping[str, Any]
Columns = Mapping[str, Callable[[Line], Cell | str]]


def stage_sections(
    stages: Mapping[str, Stage], evaluation: Evaluation, failure: pd.DataFrame
) -> list[Section]:
    """The sections of the stages that there are.

    Args:
        stages: by name.
        evaluation: the pass over the test data.
        failure: how well confidence tells errors, by setting.
    """
    before: Sequence[tuple[str, Callable[[Stage], Section]]] = (
        ("score", _score), ("methods", _methods), ("features", _feature_maps), ("score", _units),
        ("tree", _tree), ("linearity", _linearity), ("changes", _changes),
    )  # fmt: skip
    after = (("outliers", _outliers), ("monitor", _monitor))
    return [
        *(make(stages[name]) for name, make in before if name in stages),
        _failure(failure, evaluation),
        *(make(stages[name]) for name, make in after if name in stages),
    ]


def _sheets(table: pd.DataFrame, columns: Columns, brief: Sequence[str], title: str) -> list[Sheet]:
    """The whole table for the page, and what of it fits a terminal.

    Args:
        table: a line each.
        columns: their headings, and how a cell is made of a line.
        brief: columns of the terminal; none prints nothing.
        title: of the terminal's table.
    """
    lines = records(table)
    whole = Sheet(list(columns), [[make(line) for make in columns.values()] for line in lines])
    if not brief:
        return [whole]
    short = [[columns[name](line) for name in brief] for line in lines]
    return [whole, Sheet(brief, short, title, on_page=False, in_terminal=True)]


def _number(name: str, digits: int = 3) -> Callable[[Line], Cell | str]:
    """A column of a table, with its interval where it has one."""

    def make(line: Line) -> Cell | str:
        if f"{name}_low" not in line:
            return number(line[name], digits)
        return number_cell(line[name], line[f"{name}_low"], line[f"{name}_high"])

    return make


def _count(name: str) -> Callable[[Line], str]:
    return lambda line: f"{line[name]:,.0f}" if line[name] == line[name] else ""


def _score(stage: Stage) -> Section:
    table = stage.tables["parts"]
    columns: Columns = {
        "part": lambda line: line["part"],
        "value": lambda line: number_cell(line["value"], line["low"], line["high"]),
        "measured": _number("measured"),
        "random control": _number("control"),
        "ideal": _number("ideal"),
        "images or units": _count("n"),
    }
    return Section(
        "How far explaining and watching can be believed",
        "Each part is scaled by what was measured beside it: its random control is 0, the best "
        "that can be attained is 1. The score is the plain mean; it means nothing without its "
        "parts.",
        {"score": score_figure(table)},
        sheets=_sheets(table, columns, list(columns), "Monitorability: the mean of its parts"),
        terms={name.capitalize(): f"{text.capitalize()}." for name, text in PARTS.items()},
    )


def _methods(stage: Stage) -> Section:
    arrays, facts = stage.arrays, stage.facts
    columns: Columns = {
        "method": lambda line: method_title(line["method"]),
        "forwards": _count("forwards"),
        "images": _count("n"),
        "relevance gain": _number("srg"),
        "most first": _number("most"),
        "least first": _number("least"),
        "sparseness": _number("sparseness"),
        "complexity": _number("complexity", 2),
    }
    brief = ["method", "forwards", "relevance gain", "most first", "least first", "sparseness"]
    return Section(
        "Explanations",
        "Red speaks for the predicted class, blue against it. Under each map its relevance gain: 0 "
        "is as good as random, and the inverse of a map has minus its gain.",
        {"agreement": agreement_figure(facts["names"], arrays["agreement"])},
        {"gallery": gallery_figure(
            arrays["images"], arrays["maps"], facts["captions"], facts["titles"]
        )},
        _sheets(stage.tables["methods"], columns, brief, "Methods of explanation"),
        TERMS["methods"],
    )  # fmt: skip


def _feature_maps(stage: Stage) -> Section:
    maps = {
        name: (numbers, stage.arrays[name]) for name, numbers in stage.facts["channels"].items()
    }
    if not maps:
        return Section("What layers see", "The network has no layer that answers in maps.")
    return Section(
        "What layers see",
        "One test image, and what the busiest channels of some layers make of it.",
        pictures={"features": feature_figure(stage.arrays["image"], maps)},
    )


def _units(stage: Stage) -> Section:
    strips, table = stage.arrays["units"], stage.tables["units"]
    return Section(
        "What units look for",
        "For each unit an image that was optimised to excite it, and beside it the test images "
        "that excite it most. Green: the optimised image excites it more than 99.9 % of them do.",
        pictures={"units": unit_figure(stage.facts["layer"], strips, table)},
    )


def _tree(stage: Stage) -> Section:
    columns: Columns = {
        "depth": _count("depth"),
        "leaves": _count("leaves"),
        "agreement %": lambda line: percent(line["agreement"]),
        "most frequent class %": lambda line: percent(line["majority"]),
        "Cohen's κ": _number("kappa"),
    }
    return Section(
        "A tree in the model's place",
        "A decision tree that sees the mean of each patch imitates the model's answers this well, "
        "on images it was not fitted to.",
        pictures={"tree": picture(stage.arrays["drawing"])},
        sheets=_sheets(stage.tables["tree"], columns, (), ""),
        terms=TERMS["tree"],
    )


def _linearity(stage: Stage) -> Section:
    return Section(
        "How simple it is round an image",
        "How well a linear function gives the model's answers to disturbed images that it was not "
        "fitted to: 1 is exact, 0 no better than their mean.",
        {"linearity": linearity_figure(stage.tables["linearity"])},
        terms=TERMS["linearity"],
    )


def _changes(stage: Stage) -> Section:
    arrays, facts = stage.arrays, stage.facts
    columns: Columns = {
        "version": lambda line: line["version"],
        "images": _count("n"),
        "agreement": _number("agreement"),
        "relevance gain": _number("srg"),
        "other answer %": lambda line: rate_cell(
            line["changed"], line["changed_low"], line["changed_high"]
        ),
    }
    brief = ["version", "images", "agreement", "other answer %"]
    gallery = gallery_figure(
        arrays["images"], arrays["maps"], facts["captions"], facts["titles"], 1.75
    )
    return Section(
        "Before and after",
        "The explanation of the class that was predicted before, for the same images: attacked, "
        "with damaged weights, and by the models given with --compare. Noise of the attack's size "
        "and a network of random weights say what it has to be compared with.",
        pictures={"changes": gallery},
        sheets=_sheets(stage.tables["changes"], columns, brief, "Explained before and after"),
        terms=TERMS["changes"],
    )


def _failure(table: pd.DataFrame, evaluation: Evaluation) -> Section:
    columns: Columns = {
        "setting": lambda line: f"{line['setting']} {line['value']:.3g}"
        if line["value"] else line["setting"],
        "images": _count("n"),
        "errors": _count("errors"),
        "error AUROC": _number("error_auroc"),
        "AURC": _number("aurc"),
        "excess AURC": _number("excess_aurc", 4),
        "AUGRC": _number("augrc", 4),
        "ECE": _number("ece"),
    }  # fmt: skip
    # Explanation probes ask nothing new of the images: their rows are the clean ones again.
    asked = [result for result in evaluation.results if result.family != "interpretability"]
    rows = {result.title: result.at_headline for result in asked if len(result.rows)}
    brief = ["setting", "images", "errors", "error AUROC", "excess AURC"]
    return Section(
        "Knowing when it is wrong",
        figures={"risk": risk_figure(rows)},
        sheets=_sheets(table, columns, brief, "Knowing when it is wrong"),
        terms=TERMS["failure"],
    )


def _outliers(stage: Stage) -> Section:
    table = stage.tables["outliers"]
    columns: Columns = {
        "outliers": lambda line: line["outliers"],
        "score": lambda line: score_title(line["score"]),
        "images": lambda line: f"{line['n']:,} / {line['n_out']:,}",
        "AUROC": _number("auroc"),
        "FPR95 (in)": _number("fpr95_in"),
        "FPR95 (out)": _number("fpr95_out"),
    }
    kinds = list(dict.fromkeys(table["outliers"]))
    wide = table.pivot_table("auroc", "score", "outliers", sort=False)[kinds]
    lines = [[score_title(str(k)), *(number(v) for v in wide.loc[k])] for k in wide.index]
    return Section(
        "Anomalous input",
        "Seven scores from one fit on training images tell the data's own test images from others.",
        {"outliers": outlier_figure(table)},
        sheets=[
            *_sheets(table, columns, (), ""),
            Sheet(
                ("score", *kinds), lines, "Anomalous input, AUROC", on_page=False, in_terminal=True
            ),
        ],
        terms=TERMS["outliers"],
    )


def _monitor(stage: Stage) -> Section:
    facts, tables = stage.facts, stage.tables
    drifts: Columns = {
        "drift": lambda line: line["shift"],
        "windows with an alarm %": lambda line: percent(line["power"]),
        "images until the first alarm": lambda line: (
            _count("delay")(line) or f"none in {line['images']:,.0f}"
        ),
    }
    layers: Columns = {
        "layer": lambda line: line["layer"],
        **{name: _count(name) for name in ("units", "silent", "constant")},
        "mean": _number("mean"),
        "std": _number("std"),
        "zeros %": lambda line: percent(line["zero_rate"]),
        "1 %": _number("q01"),
        "median": _number("q50"),
        "99 %": _number("q99"),
    }
    drift = drift_figure(tables["drift"], facts["threshold"], facts["false_alarms"])
    alarms, cost = (rate_with_ends(interval_of(facts[name])) for name in ("alarms", "cost"))
    title = f"Drift; false alarms {alarms} %; monitor's overhead {cost} %"
    return Section(
        "Watching",
        "A filled dot is an alarm. The monitor is in monitor.safetensors of this result: "
        "Monitor.load(file, model).attach().",
        {"drift": drift, "firing": firing_figure(stage.arrays)},
        sheets=[
            *_sheets(tables["drifts"], drifts, list(drifts), title),
            *_sheets(tables["layers"], layers, (), ""),
        ],
        terms=TERMS["monitor"],
    )
