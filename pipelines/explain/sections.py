"""The sections of an explanation's page and terminal: one for every stage."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import matplotlib as mpl
import pandas as pd

from callbacks.monitoring.outliers import score_title
from callbacks.monitoring.score import PARTS
from callbacks.results import records
from callbacks.words import number, rate_with_ends
from pipelines.evaluate.result import Evaluation
from pipelines.explain.advice import Advice
from pipelines.explain.cell import Stage
from pipelines.explain.columns import KINDS, Column, sheets_of
from pipelines.explain.figures import (
    drift_figure,
    firing_figure,
    linearity_figure,
    outlier_figure,
    risk_figure,
    score_figure,
)
from pipelines.explain.picture_figures import (
    agreement_figure,
    feature_figure,
    gallery_figure,
    unit_figure,
)
from pipelines.explain.summary import interval_of
from pipelines.explain.terms import TERMS
from pipelines.explain.tree_figure import tree_figure
from pipelines.report.figures import LOOK
from pipelines.report.sections import Section, Sheet

_SEPARATION = {"auroc": "AUROC", "fpr95_in": "FPR95 (in)", "fpr95_out": "FPR95 (out)"}


@mpl.rc_context(LOOK)
def stage_sections(
    stages: Mapping[str, Stage], evaluation: Evaluation, failure: pd.DataFrame
) -> list[Section]:
    """The sections of the stages that there are, and of how errors are noticed in the pass."""
    makers: Sequence[tuple[str, Callable[[Stage], Section]]] = (
        ("score", _score), ("methods", _methods), ("changes", _changes), ("outliers", _outliers),
        ("monitor", _monitor),
    )  # fmt: skip
    sections = {name: make(stages[name]) for name, make in makers if name in stages}
    sections |= {"inside": _inside(stages), "failure": _failure(failure, evaluation)}
    order = ("score", "methods", "inside", "changes", "failure", "outliers", "monitor")
    return [sections[name] for name in order if name in sections]


def advice_section(stages: Mapping[str, Stage], advice: Sequence[Advice]) -> Section:
    """What the findings advise, and what each layer knows."""
    columns: Sequence[Column] = (
        ("layer", "layer", "layer"), ("units", "count", "units"),
        ("repeated", "count", "redundant"), ("linear probe %", "percent", "probe"),
        ("more than the network, points", "points", "gain"), ("p", "number", "p"),
    )  # fmt: skip
    brief = ["layer", "units", "repeated", "linear probe %", "more than the network, points"]
    depth = stages["depth"].tables["depth"] if "depth" in stages else pd.DataFrame()
    lines = [[one.about, one.advice, one.finding] for one in advice]
    told = Sheet(["about", "advice", "because"], lines)
    return Section(
        "What to do about it",
        "Only what is beyond chance is told, layers and classes each corrected for how many there "
        "are." + ("" if advice else " Nothing stands out."),
        sheets=[*[told] * bool(advice), *sheets_of(depth, columns, "What layers know", brief)],
        terms=TERMS["advice"],
    )


def _score(stage: Stage) -> Section:
    table = stage.tables["parts"]
    columns: Sequence[Column] = (
        ("part", "text", "part"), ("value", "number", "value"), ("measured", "number", "measured"),
        ("control", "number", "control"), ("ideal", "number", "ideal"),
        ("images, units", "count", "n"), ("random weights", "number", "twin"),
    )  # fmt: skip
    brief = [head for head, *_ in columns if head != "ideal"]  # what fits a terminal
    ends = {"low": "value_low", "high": "value_high"}
    twin = stage.tables["twin"].rename(
        columns={"value": "twin", "low": "twin_low", "high": "twin_high"}
    )
    lines = table.rename(columns=ends).merge(
        twin[["part", "twin", "twin_low", "twin_high"]], on="part"
    )
    return Section(
        "How far explaining and watching can be believed",
        "Each part is scaled by what was measured beside it: its control is 0, the best that can "
        "be attained is 1. The score is the plain mean; it means nothing without its parts, nor "
        "without what the same network gets with random weights, which is not 0: its maps are "
        "stable and follow it, too.",
        {"score": score_figure(table)},
        sheets=sheets_of(lines, columns, "Monitorability: the mean of its parts", brief),
        terms={name.capitalize(): f"{text[0].upper()}{text[1:]}." for name, text in PARTS.items()},
    )


def _methods(stage: Stage) -> Section:
    arrays, facts = stage.arrays, stage.facts
    columns: Sequence[Column] = (
        ("method", "method", "method"), ("forwards", "count", "forwards"), ("images", "count", "n"),
        ("relevance gain", "number", "srg"), ("most first", "number", "most"),
        ("least first", "number", "least"), ("sparseness", "number", "sparseness"),
        ("complexity", "number", "complexity"), ("sampling error %", "percent", "error"),
        ("missing %", "percent", "gap"),
    )  # fmt: skip
    brief = ["method", "forwards", "relevance gain", "most first", "least first", "sparseness"]
    gallery = gallery_figure(arrays["images"], arrays["maps"], facts["captions"], facts["titles"])
    return Section(
        "Explanations",
        "Red speaks for the predicted class, blue against it. Under each map its relevance gain: 0 "
        "is as good as random, and the inverse of a map has minus its gain.",
        {"agreement": agreement_figure(facts["names"], arrays["agreement"])},
        {"gallery": gallery},
        sheets_of(stage.tables["methods"], columns, "Methods of explanation", brief),
        TERMS["methods"],
    )


def _inside(stages: Mapping[str, Stage]) -> Section:
    columns: Sequence[Column] = (
        ("depth", "count", "depth"), ("leaves", "count", "leaves"),
        ("agreement %", "percent", "agreement"), ("most frequent class %", "percent", "majority"),
        ("Cohen's κ", "number", "kappa"),
    )  # fmt: skip
    figures, pictures, sheets = {}, {}, []
    if channels := stages["features"].facts["channels"] if "features" in stages else {}:
        pictures["features"] = feature_figure(channels, stages["features"].arrays)
    if score := stages.get("score"):
        units = (score.arrays["units"], score.tables["units"])
        pictures["units"] = unit_figure(score.facts["layer"], *units)
    if tree := stages.get("tree"):
        figures["tree"] = tree_figure(tree.tables["tree_nodes"])
        sheets = sheets_of(tree.tables["tree"], columns)
    if linear := stages.get("linearity"):
        figures["linearity"] = linearity_figure(linear.tables["linearity"])
    return Section(
        "What layers and units see, and simple models in its place",
        "The busiest channels of some layers, for one image. For each unit an image that was "
        "optimised to excite it, and the test images that excite it most; green: it beats 99.9 % "
        "of them. A decision tree that sees the mean of each patch (row, column) of a grid, "
        "with how often it answers as the model does on images it was not fitted to. And how well "
        "a linear function gives the answers to disturbed images: 1 is exact, 0 no better than "
        "their mean.",
        figures,
        pictures,
        sheets,
        TERMS["inside"],
    )


def _changes(stage: Stage) -> Section:
    arrays, facts = stage.arrays, stage.facts
    columns: Sequence[Column] = (
        ("version", "text", "version"), ("images", "count", "n"),
        ("agreement", "number", "agreement"), ("relevance gain", "number", "srg"),
        ("other answer %", "percent", "changed"),
    )  # fmt: skip
    brief = ["version", "images", "agreement", "other answer %"]
    pictured = (arrays["images"], arrays["maps"], facts["captions"], facts["titles"])
    return Section(
        "Before and after",
        "The explanation of the class that was predicted before, for the same images: attacked, "
        "with damaged weights, and by the models given with --compare. Noise of the attack's size "
        "and a network of random weights say what it has to be compared with.",
        pictures={"changes": gallery_figure(*pictured, size=1.65)},
        sheets=sheets_of(stage.tables["changes"], columns, "Explained before and after", brief),
        terms=TERMS["changes"],
    )


def _failure(table: pd.DataFrame, evaluation: Evaluation) -> Section:
    columns: Sequence[Column] = (
        ("setting", "setting", "setting"), ("images", "count", "n"), ("errors", "count", "errors"),
        ("error AUROC", "number", "error_auroc"), ("AURC", "fine", "aurc"),
        ("excess AURC", "fine", "excess_aurc"), ("AUGRC", "fine", "augrc"),
        ("ECE", "number", "ece"),
    )  # fmt: skip
    # Explanation probes ask nothing new of the images: their rows are the clean ones again.
    asked = [result for result in evaluation.results if result.family != "interpretability"]
    rows = {result.title: result.at_headline for result in asked if len(result.rows)}
    names = {str(name) for result in asked for name in result.rows["setting"].unique()}
    table = table.loc[table["setting"].isin(names)] if len(table) else table
    brief = ["setting", "images", "errors", "error AUROC", "excess AURC"]
    return Section(
        "Knowing when it is wrong",
        "How often it errs when only its most confident answers are taken.",
        {"risk": risk_figure(rows)},
        sheets=sheets_of(table, columns, "Knowing when it is wrong", brief),
        terms=TERMS["failure"],
    )


def _outliers(stage: Stage) -> Section:
    table = stage.tables["outliers"]
    columns = ("score", *dict.fromkeys(table["outliers"]))
    parts = {score_title(str(k)): records(part) for k, part in table.groupby("score", sort=False)}
    sheets = []
    for name, title in _SEPARATION.items():
        lines = [[k, *(KINDS["number"](x, name) for x in part)] for k, part in parts.items()]
        sheets.append(Sheet(columns, lines, title))
    brief = [[k, *(number(line["auroc"]) for line in part)] for k, part in parts.items()]
    printed = Sheet(columns, brief, "Anomalous input, AUROC", on_page=False, in_terminal=True)
    own, others = (int(table[name].max()) for name in ("n", "n_out"))
    return Section(
        "Anomalous input",
        "Seven scores from one fit on training images tell the data's own test images from others: "
        f"{own:,} of its own and at most {others:,} of each other kind.",
        {"outliers": outlier_figure(table)},
        sheets=[*sheets, printed],
        terms=TERMS["outliers"],
    )


def _monitor(stage: Stage) -> Section:
    facts, tables = stage.facts, stage.tables
    drifts: Sequence[Column] = (
        ("drift", "text", "shift"), ("windows with an alarm %", "percent", "power"),
        ("images until the first alarm", "delay", "delay"),
    )  # fmt: skip
    alarms: Sequence[Column] = (
        ("stated for", "text", "stated_for"), ("served", "text", "served"),
        ("windows", "count", "windows"), ("false alarms %", "percent", "rate"),
    )  # fmt: skip
    layers: Sequence[Column] = (
        ("layer", "text", "layer"), ("units", "count", "units"), ("silent", "count", "silent"),
        ("constant", "count", "constant"), ("mean", "number", "mean"), ("std", "number", "std"),
        ("zeros %", "percent", "zero_rate"), ("1 %", "number", "q01"), ("median", "number", "q50"),
        ("99 %", "number", "q99"),
    )  # fmt: skip
    drift = drift_figure(tables["drift"], facts["threshold"], facts["false_alarms"])
    own, cost = (rate_with_ends(interval_of(facts[name])) for name in ("alarms", "cost"))
    title = f"Drift; false alarms {own} %; monitor's overhead {cost} %"
    stated = f"False alarms; {100 * facts['false_alarms']:g} % are stated"
    return Section(
        "Watching",
        "A filled dot is an alarm. The monitor is in monitor.safetensors of this result: "
        "Monitor.load(file, model).attach().",
        {"drift": drift, "firing": firing_figure(stage.arrays)},
        sheets=[
            *sheets_of(tables["drifts"], drifts, title, [head for head, *_ in drifts]),
            *sheets_of(tables["alarms"], alarms, stated, [head for head, *_ in alarms]),
            *(replace(sheet, title="By layer") for sheet in sheets_of(tables["layers"], layers)),
        ],
        terms=TERMS["monitor"],
    )
