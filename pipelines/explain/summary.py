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
    """The numbers of the stages that there are, by the name of their `summary/` metric."""
    numbers: dict[str, Number] = {}
    if "score" in stages:
        numbers |= _score_numbers(stages["score"].tables, plan)
    for clean in _clean(failure):
        numbers["error_auroc"] = Number(
            "Error AUROC",
            Interval(*(float(clean[f"error_auroc{end}"]) for end in ("", "_low", "_high"))),
            note=f"confidence tells {clean['errors']:,} errors; 0.5 is chance",
            conditions=f"on {clean['n']:,} images",
        )
    if "outliers" in stages:
        numbers["outlier_auroc"] = _outlier_number(stages["outliers"].tables["outliers"], plan)
    if "monitor" in stages:
        numbers |= _monitor_numbers(stages["monitor"].facts)
    return numbers


def sentences(stages: Mapping[str, Stage], failure: pd.DataFrame) -> list[str]:
    """What the numbers mean, in words that need no background."""
    told = [*_failure_sentences(failure)]
    for name, tell in (
        ("score", _score_sentences), ("methods", _method_sentences), ("monitor", _drift_sentences),
    ):  # fmt: skip
        told += tell(stages[name]) if name in stages else []
    return [sentence.replace(" %", f"{NBSP}%") for sentence in told]


def _clean(failure: pd.DataFrame) -> list[dict]:
    """The line of the undisturbed images, if they were measured."""
    return [line for line in records(failure) if line["setting"] == "clean"]


def _score_numbers(tables: Mapping[str, pd.DataFrame], plan: Plan) -> dict[str, Number]:
    asked = f"{plan.forwards:g} forwards for each of at most {plan.limit:,} images"
    values = {line["part"]: _interval(line) for line in records(tables["parts"])}
    score, twin = values.pop("monitorability"), _of_twin(tables)
    note = f"mean of six parts; the same network with random weights gets {twin}"
    return {
        "monitorability": Number("Monitorability", score, "", note, asked),
        **{
            f"part_{name}": Number(f"Part: {name}", value, "", PARTS[name], asked, False)
            for name, value in values.items()
        },
    }


def _of_twin(tables: Mapping[str, pd.DataFrame]) -> str:
    """The score of random weights, or why there is none."""
    (line,) = [line for line in records(tables["twin"]) if line["part"] == "monitorability"]
    twin = _interval(line)
    if twin.value != twin.value:
        return "none, as a part is undefined"
    interval = ends(twin.low, twin.high, digits=2)
    return f"{twin.value:.2f}" + f" ({interval})" * bool(interval)


def _interval(line: Mapping[str, float]) -> Interval:
    return Interval(*(float(line[name]) for name in ("value", "low", "high")))


def _outlier_number(table: pd.DataFrame, plan: Plan) -> Number:
    """AUROC against every kind of the score that is best against the other kinds, on average."""
    chosen = chosen_outlier_scores(table)
    lines = [
        records(table.loc[(table["outliers"] == k) & (table["score"] == s)])[0] for k, s in chosen
    ]
    columns = ("auroc", "auroc_low", "auroc_high")
    mean = Interval(*(sum(line[name] for line in lines) / len(lines) for name in columns))
    named = ", ".join(dict.fromkeys(score_title(score) for _, score in chosen))
    note = (
        f"on average over {len(chosen)} kinds, each told by the score that is best against the "
        f"other kinds ({named})"
    )
    kinds = ", ".join(kind for kind, _ in chosen)
    asked = f"{kinds}; {plan.limit:,} images, fitted on {plan.train_limit:,}"
    return Number("Outlier AUROC", mean, "", note, asked)


def chosen_outlier_scores(table: pd.DataFrame) -> list[tuple[str, str]]:
    """For every kind of outliers the score of best mean AUROC against all other kinds.

    The best score on the very images it is reported on would flatter.

    Args:
        table: of `separation_table`; of a single kind its first score is taken.
    """
    kinds = list(dict.fromkeys(table["outliers"]))
    chosen = []
    for kind in kinds:
        others = table.loc[table["outliers"] != kind]
        means = others.groupby("score", sort=False)["auroc"].mean()
        best = means.idxmax() if len(means) else table["score"].iloc[0]
        chosen.append((str(kind), str(best)))
    return chosen


def _monitor_numbers(facts: Mapping) -> dict[str, Number]:
    stated = f"{facts['false_alarms']:g}"
    kind = {"shuffled": "shuffled images", "stream": "images in the data's order"}[facts["order"]]
    alarms = f"of {facts['windows']:,} clean test windows of {kind}; the stated rate is {stated}"
    cost = (
        "a forward's time on top of it where every batch is watched; the saved monitor watches one "
        f"in {facts['every']}"
    )
    asked = f"windows of {facts['window']} images, stated rate {stated}"
    rate, overhead = (interval_of(facts[name]) for name in ("alarms", "cost"))
    return {
        "false_alarm_rate": Number("False alarms", rate, "%", alarms, asked),
        "monitor_overhead": Number("Monitor's overhead", overhead, "x", cost, asked),
    }


def _failure_sentences(failure: pd.DataFrame) -> Iterator[str]:
    for clean in _clean(failure):
        if clean["error_auroc"] == clean["error_auroc"]:
            yield (
                "Of a wrong and a right answer the wrong one is the less sure in "
                f"{percent(clean['error_auroc'], 0)} of 100 pairs (50 would be chance)."
            )


def _score_sentences(stage: Stage) -> Iterator[str]:
    parts = {line["part"]: _interval(line) for line in records(stage.tables["parts"])}
    score = parts.pop("monitorability")
    if score.value == score.value:
        weakest = min(parts, key=lambda name: parts[name].value)
        yield (
            "On a scale from 0 (no better than chance) to 1 (the best there can be) it can be "
            f"explained and watched to {score.value:.2f} (95 % interval "
            f"{ends(score.low, score.high, digits=2)}); with random weights, which have learnt "
            f"nothing, to {_of_twin(stage.tables)}. Its weakest side, with "
            f"{parts[weakest].value:.2f}, is {_IN_WORDS[weakest]}."
        )


def _method_sentences(stage: Stage) -> Iterator[str]:
    own = [line for line in records(stage.tables["methods"]) if not line["control"]]
    yield (
        f"Of {len(own)} ways to explain it, {method_title(own[0]['method'])} names the pixels that "
        f"matter best, on {own[0]['n']} images: {number(own[0]['srg'], 2)}, where 0 is no better "
        "than chance and 1 the most there can be."
    )


def _drift_sentences(stage: Stage) -> Iterator[str]:
    drifts = records(stage.tables["drifts"])
    shares = ", ".join(f"{line['shift']} in {percent(line['power'], 0)} %" for line in drifts)
    alarms = percent(interval_of(stage.facts["alarms"]).value)
    yield (
        f"Watched, it raises an alarm when its images change: {shares} of the windows, and in "
        f"{alarms} % where nothing has changed."
    )
