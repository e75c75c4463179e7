"""The numbers of an explanation that come first, and what they mean."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from callbacks.family import Number
from callbacks.monitoring.outliers import score_title
from callbacks.monitoring.score import PARTS
from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import NBSP, ends, number, percent
from pipelines.explain.cell import Stage
from pipelines.explain.methods import method_title
from pipelines.explain.plan import Plan

_ENDS = ("", "_low", "_high")
_IN_WORDS = {
    "faithfulness": "whether the explanations name the pixels that matter",
    "stability": "whether its explanations stay when the image hardly changes",
    "randomisation": "whether its explanations depend on what it has learnt",
    "surrogate": "whether it is simple round an image",
    "units": "whether one can picture what its units look for",
    "failure": "whether it is less sure when it is wrong",
}
"""Parts of the score for a reader without background."""


def interval_of(values: Sequence[float | None]) -> Interval:
    """From JSON, where None stands for what is no number."""
    return Interval(*(float("nan") if value is None else value for value in values))


def headline(stages: Mapping[str, Stage], failure: pd.DataFrame, plan: Plan) -> dict[str, Number]:
    """The numbers by the name of their `summary/` metric.

    Args:
        stages: any of them.
        failure: how well confidence tells errors, by setting.
        plan: what was asked for.
    """
    numbers: dict[str, Number] = {}
    clean = failure.loc[failure["setting"] == "clean"].iloc[0]
    if "score" in stages:
        numbers |= _score_numbers(stages["score"].tables["parts"], plan)
    numbers["error_auroc"] = Number(
        "Error AUROC",
        Interval(*(float(clean[f"error_auroc{end}"]) for end in _ENDS)),
        note=f"confidence tells {clean['errors']:,} errors; 0.5 is chance",
        conditions=f"on {clean['n']:,} images",
    )
    if "outliers" in stages:
        numbers["outlier_auroc"] = _best_outlier_score(stages["outliers"].tables["outliers"], plan)
    if "monitor" in stages:
        numbers |= _monitor_numbers(stages["monitor"])
    return numbers


def sentences(stages: Mapping[str, Stage], failure: pd.DataFrame) -> list[str]:
    """What the numbers mean, in words that need no background."""
    told = [
        *_score_sentences(stages.get("score")),
        *_failure_sentences(failure),
        *_drift_sentences(stages.get("monitor")),
        *_method_sentences(stages.get("methods")),
    ]
    return [sentence.replace(" %", f"{NBSP}%") for sentence in told]


def _score_numbers(parts: pd.DataFrame, plan: Plan) -> dict[str, Number]:
    asked = f"{plan.forwards:g} forwards for each of at most {plan.limit:,} images"
    lines = {line["part"]: line for line in records(parts)}
    values = {
        name: Interval(*(float(line[end]) for end in ("value", "low", "high")))
        for name, line in lines.items()
    }
    score = values.pop("monitorability")
    note = "mean of the six parts below; random controls are 0"
    return {
        "monitorability": Number("Monitorability", score, "", note, asked),
        **{
            f"part_{name}": Number(f"Part: {name}", value, "", PARTS[name], asked, False)
            for name, value in values.items()
        },
    }


def _best_outlier_score(table: pd.DataFrame, plan: Plan) -> Number:
    """The score with the best AUROC on average over the kinds of outliers."""
    columns = [f"auroc{end}" for end in _ENDS]
    means = {str(name): part[columns].mean().tolist() for name, part in table.groupby("score")}
    best = max(means, key=lambda name: means[name][0])
    kinds = list(dict.fromkeys(table["outliers"]))
    note = (
        f"{score_title(best)}, on average over {len(kinds)} kinds; the best of {len(means)} scores "
        "on these very images, hence flattering"
    )
    asked = f"{', '.join(kinds)}; {plan.limit:,} images, fitted on {plan.train_limit:,}"
    return Number("Outlier AUROC", Interval(*means[best]), "", note, asked)


def _monitor_numbers(stage: Stage) -> dict[str, Number]:
    facts = stage.facts
    stated = f"{facts['false_alarms']:g}"
    alarms = f"of {facts['windows']:,} clean test windows; the stated rate is {stated}"
    cost = (
        "extra time of a forward where every batch is watched; the saved monitor watches one in "
        f"{facts['every']}"
    )
    asked = f"windows of {facts['window']} images, stated rate {stated}"
    return {
        "false_alarm_rate": Number(
            "False alarms", interval_of(facts["alarms"]), "%", alarms, asked
        ),
        "monitor_overhead": Number(
            "Monitor's overhead", interval_of(facts["cost"]), "forwards", cost, asked
        ),
    }


def _score_sentences(stage: Stage | None) -> Iterator[str]:
    lines = records(stage.tables["parts"]) if stage else []
    parts = {line["part"]: line for line in lines if line["value"] == line["value"]}
    if score := parts.pop("monitorability", None):
        weakest = min(parts, key=lambda name: parts[name]["value"])
        yield (
            f"On a scale from 0 (no better than chance) to 1 (the best there can be) it can be "
            f"explained and watched to {score['value']:.2f} (95 % interval "
            f"{ends(score['low'], score['high'], digits=2)}). Its weakest side, with "
            f"{parts[weakest]['value']:.2f}, is {_IN_WORDS[weakest]}."
        )


def _failure_sentences(failure: pd.DataFrame) -> Iterator[str]:
    clean = failure.loc[failure["setting"] == "clean"].iloc[0]
    if clean["error_auroc"] == clean["error_auroc"]:
        yield (
            "Of a wrong and a right answer the wrong one is the less sure in "
            f"{percent(clean['error_auroc'], 0)} of 100 pairs (50 would be chance)."
        )


def _drift_sentences(stage: Stage | None) -> Iterator[str]:
    if stage is not None:
        shares = [
            f"{line['shift']} in {percent(line['power'], 0)} %"
            for line in records(stage.tables["drifts"])
        ]
        yield (
            "Watched, it raises an alarm when its images change: " + ", ".join(shares) + " of the "
            f"windows, and in {percent(interval_of(stage.facts['alarms']).value)} % where nothing "
            "has changed."
        )


def _method_sentences(stage: Stage | None) -> Iterator[str]:
    if stage is not None:
        own = [line for line in records(stage.tables["methods"]) if not line["control"]]
        best = own[0]
        yield (
            f"Of {len(own)} ways to explain it, {method_title(best['method'])} names the pixels "
            f"that matter best, on {best['n']} images: {number(best['srg'], 2)}, where 0 is no "
            "better than chance and 1 the most there can be."
        )
