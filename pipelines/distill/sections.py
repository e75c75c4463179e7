"""The sections of a distillation's page."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.words import DASH, amount, ends, number, percent
from pipelines.distill.comparison import ModelComparison
from pipelines.distill.figures import comparison_figures
from pipelines.evaluate.comparison import paired_sheet
from pipelines.report.sections import Cell, Section, Sheet, number_cell

Line = Mapping[str, Any]
Columns = Mapping[str, Callable[[Line], Cell | str]]
"""What a sheet shows of a line of the table, by heading."""


def _rate(column: str, line: Line, digits: int = 1) -> Cell:
    value, low, high = (line[f"{column}{end}"] for end in ("", "_low", "_high"))
    return Cell(percent(value, digits), ends(low, high, 100, digits))


def _number(column: str, line: Line) -> Cell:
    return number_cell(*(line[f"{column}{end}"] for end in ("", "_low", "_high")))


_BRIEF: Columns = {
    "model": lambda line: line["model"],
    "MB": lambda line: f"{line['bytes'] / 1e6:.3g}",
    "accuracy %": partial(_rate, "acc"),
    "kept %": lambda line: percent(line["kept"]),
    "robust %": partial(_rate, "robust"),
    "agrees %": lambda line: percent(line["agreement"]),
    "flips %": lambda line: percent(line["flips"], 2),
}
_ACCURACY: Columns = {
    "model": lambda line: line["model"],
    "seeds": lambda line: str(line["seeds"]),
    "accuracy %": partial(_rate, "acc"),
    "kept %": partial(_rate, "kept"),
    "robust %": partial(_rate, "robust"),
    "robust kept %": partial(_rate, "kept_robust"),
    "ECE": partial(_number, "ece"),
}
_LIKENESS: Columns = {
    "model": lambda line: line["model"],
    "agreement %": partial(_rate, "agreement"),
    "KL (nats)": partial(_number, "kl"),
    "negative flips %": partial(_rate, "flips", digits=2),
    "errors copied %": partial(_rate, "copied"),
}
_COST: Columns = {
    "model": lambda line: line["model"],
    "parameters": lambda line: f"{line['parameters']:,}",
    "MACs an image": lambda line: amount(line["macs"]),
    "weights (MB)": lambda line: number(line["bytes"] / 1e6),
    "one image (ms)": lambda line: number(1000 * line["latency"]),
    "images/s in batches": lambda line: number(line["throughput"], 0),
    "activations (MB)": lambda line: number(line["memory"] / 1e6, 2),
}
_TERMS = {
    "Kept": "Accuracy in units of the teacher's, on the same images; a dash where images and seeds "
    "are too few to tell (an interval wider than half of it), or the teacher has less than 10 %.",
    "Robust": "Right under every attack, image by image, at the largest measured radius at which "
    "the teacher has at least half of its accuracy; of the first seed.",
    "Agreement": "Share of images with the same prediction as the teacher's.",
    "KL": "How far the probabilities are from the teacher's, in nats; 0 is the same.",
    "Negative flips": "Share of images that the teacher gets right and this model wrong.",
    "Errors copied": "Share of the teacher's errors that this model makes with the same wrong "
    "class; of the first seed, like ECE.",
}
_COST_TERMS = {
    "MACs": "Multiply-accumulates of convolutions and matrix products for one image.",
    "Times": "Medians on this machine, the models taking turns; batches of {} images.",
    "Activations": "The most that one forward of a batch holds at once, without weights.",
}
_FOLDER = "/mlruns/checkpoints/"


def sections_of(
    comparison: ModelComparison, failed: Mapping[str, str], title: str
) -> list[Section]:
    """Figures, numbers with their intervals, cost, paired tests, and where the models are.

    Args:
        comparison: of all models.
        failed: titles of models that could not be trained, and why.
        title: of the terminal's table.
    """
    lines, at = records(comparison.table), comparison.ball
    caption = "in brackets: 95 % interval over images, and over seeds where several"
    brief = _sheet(
        lines, _BRIEF, failed, title=title, on_page=False, in_terminal=True,
        caption=f"{caption}; robust at {at}" if at else caption,
    )  # fmt: skip
    batch = {name: text.format(lines[0]["batch"]) for name, text in _COST_TERMS.items()}
    sections = [
        Section("", sheets=[brief]),
        Section(
            "Accuracy and size",
            "Circles: no other model here is both smaller and better; the line is their front. "
            "Crosses: some other is. Bars are 95 % intervals; models of one size stand side by "
            "side, the leftmost at its size.",
            comparison_figures(comparison),
        ),
        Section(
            "What is kept",
            f"On the same {len(comparison.teacher.rows):,} test images"
            f"{f', under attack at {at}' if at else ''}. Small figures are 95 % intervals, over "
            "images and, where there are several, seeds.",
            sheets=[
                _sheet(lines, _ACCURACY, failed, title="Accuracy"),
                _sheet(lines[1:], _LIKENESS, {}, title="Likeness to the teacher"),
            ],
            terms=_TERMS,
        ),
        Section("What each model takes", sheets=[_sheet(lines, _COST, {})], terms=batch),
        _places(comparison),
    ]
    if len(comparison.paired):
        text = (
            "How many points of accuracy the student has more (or fewer) than its teacher on the "
            "same images, with the paired 95 % interval; p is corrected over a probe's lines."
        )
        sheets = [paired_sheet(comparison.paired)]
        sections.insert(-1, Section("Student against teacher, image by image", text, sheets=sheets))
    return sections


def trial_sections(trials: pd.DataFrame) -> list[Section]:
    """What an automatic distillation has tried.

    Args:
        trials: a line for each recipe.
    """
    columns = (
        "loss", "T", "labels", "soft", "features", "layers", "epochs", "validation %", "fate"
    )  # fmt: skip
    names = ("hard_weight", "soft_weight", "feature_weight")
    lines = [
        [
            str(line["loss"]), number(line["temperature"]), *(number(line[n]) for n in names),
            str(line["layers"]) or DASH, str(line["epochs"]), percent(line["score"]),
            "chosen" if line["chosen"] else str(line["fate"]),
        ]
        for line in records(trials)
    ]  # fmt: skip
    text = (
        "Recipes in the order they were tried, by the best epoch on the validation images. One of "
        "a few goes on to more epochs (successive halving); the others are given up."
    )
    return [Section("The search", text, sheets=[Sheet(columns, lines)])]


def _sheet(
    lines: Sequence[Line], columns: Columns, failed: Mapping[str, str], **options: Any
) -> Sheet:
    cells = [[cell(line) for cell in columns.values()] for line in lines]
    missing = [[name, "failed", *[DASH] * (len(columns) - 2)] for name in failed]
    return Sheet([*columns], [*cells, *missing], **options)


def _places(comparison: ModelComparison) -> Section:
    """Where the weights are and which run measured them."""
    lines = [
        [model.title, model.digest, model.run_id or DASH, model.source.rpartition(_FOLDER)[2]]
        for model in comparison.models
    ]
    columns = ("model", "hash of its weights", "MLflow run", "source")
    text = f"Weights that were trained here are folders below {_FOLDER[1:]}, named as sources."
    return Section("Where the models are", text, sheets=[Sheet(columns, lines)])
