"""What was found, a sentence each."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.statistics import rate
from callbacks.words import number, percent, said_interval, with_interval
from pipelines.audit.lines import told
from pipelines.audit.measure import Measured

_SURE = 0.05
_RARE = 10.0
"""Largest class by smallest from which an imbalance is worth a sentence of its own."""


def sentences_of(found: Measured, accuracy: pd.DataFrame | None) -> Iterator[str]:
    """Twins, duplicates, labels, classes, shift, odd images."""
    for line in records(found.between):
        if line["second"] == "test":
            yield _twins(line)
            yield from _candidates(line)
    yield _chance(found)
    if accuracy is not None:
        yield _accuracy(accuracy)
    for line in records(found.splits):
        yield from _split(line)
    for line in records(found.between):
        yield _shift(line, found.moved)
        yield from _to_model(line)
        yield from _shares(line)


def _twins(line: Mapping[str, Any]) -> str:
    twins, learnt = told(line, "twins"), {"train": "training", "val": "validation"}[line["first"]]
    if not twins.value:
        return (
            f"No test image has a twin among the {learnt} images, neither an exact one nor a near "
            f"one; with as many images a share of up to {percent(twins.high, 2)} % could go unseen."
        )
    return (
        f"{percent(twins.value, 2)} % of the test images ({with_interval(twins)}) have a twin "
        f"among the {learnt} images: {line['exact']:,} exactly, {line['near']:,} nearly, and "
        f"{line['other_label']:,} of them under another label."
    )


def _candidates(line: Mapping[str, Any]) -> Iterator[str]:
    if line["features"]:
        yield (
            f"To the model {line['features']:,} further test images stand out as close to one of "
            f"the {line['first']} images: candidates such as crops and other takes, not counted as "
            "twins; the rows name them."
        )


def _chance(found: Measured) -> str:
    facts = found.facts
    share = rate(facts["by_chance"], facts["unrelated"])
    return (
        f"Near means {facts['rule']}; of {facts['unrelated']:,} pairs under different labels "
        f"{facts['by_chance']:,} fit that, or {1e6 * share.value:.2g} in a million "
        f"({said_interval(share, 1e6, 2)}). Images of one class are more "
        "alike, so a near twin is a candidate to be looked at, an exact one is a fact."
    )


def _accuracy(table: pd.DataFrame) -> str:
    lines = {line["images"]: line for line in records(table)}
    twins, rest = lines["twins"], lines["without twins"]
    if not twins["n"]:
        return "No test image has a twin, so the model's accuracy owes nothing to them."
    change = told(lines["change without twins"], "value")
    return (
        f"The model is right on {percent(twins['value'])} % of the {twins['n']:,} test images that "
        f"have a twin ({with_interval(told(twins, 'value'))}) and on {percent(rest['value'])} % of "
        f"the rest ({with_interval(told(rest, 'value'))}): without them its accuracy changes by "
        f"{100 * change.value:+.2f} points ({said_interval(change, 100, 2)})."
    )


def _split(line: Mapping[str, Any]) -> Iterator[str]:
    split = line["split"]
    if line["duplicates"]:
        yield (
            f"Within the {split} images {line['exact']:,} are exact and {line['near']:,} near "
            f"copies of another ({percent(line['duplicates'], 2)} %), {line['other_label']:,} of "
            "them under another label: each counts as often as it is there."
        )
    yield from _labels(line)
    if line["missing"]:
        yield f"The {split} images have none of the classes {line['missing']}."
    ratio = told(line, "ratio")
    if ratio.value >= _RARE:
        effective = told(line, "effective")
        yield (
            f"The largest class of the {split} images has {number(ratio.value, 1)} times as many "
            f"images as the smallest ({said_interval(ratio, 1, 1)}); they are as diverse as "
            f"{number(effective.value, 1)} equal classes."
        )
    if line["odd"]:
        yield (
            f"{percent(line['odd'], 2)} % of the {split} images "
            f"({with_interval(told(line, 'odd'))}) are hardly any: constant, nearly black or "
            "white, or of an odd shape or size."
        )


def _labels(line: Mapping[str, Any]) -> Iterator[str]:
    split = line["split"]
    recall, precision = told(line, "planted_recall"), told(line, "planted_precision")
    if not line["believed"]:
        yield (
            f"The {split} labels could not be judged: of what {line['by']} marks after errors were "
            f"planted only {percent(precision.value)} % was planted (it is right on "
            f"{percent(line['judge_acc'])} % of the images). A better model may judge them: "
            "`--model`."
        )
        return
    yield (
        f"{line['suspected']:,} of {line['judged']:,} {split} labels are suspected to be wrong "
        f"({said_interval(told(line, 'suspects'), 100, 2)}), by {line['by']}, which is right on "
        f"{percent(line['judge_acc'])} %. Of errors planted at random it finds "
        f"{percent(recall.value)} % ({with_interval(recall)}), and at least "
        f"{percent(precision.value)} % of what it then marks was planted: a suspect is to be "
        "looked at, not to be dropped."
    )
    if line["learnt"]:
        yield (
            f"The model is right on more of the {split} images than of the test images beyond "
            "chance, so it may have learnt their labels by heart: errors that it learnt hide."
        )


def _shift(line: Mapping[str, Any], moved: pd.DataFrame) -> str:
    apart, names = told(line, "auroc"), f"{line['first']} and {line['second']} images"
    if apart.value != apart.value:
        return f"There are too few {names} to be told apart."
    if line["p"] >= _SURE:
        return (
            f"A classifier cannot tell {names} apart beyond chance (AUROC {number(apart.value)}, "
            f"{said_interval(apart)}, p = {line['p']:.2g})."
        )
    own = moved.loc[(moved["first"] == line["first"]) & (moved["second"] == line["second"])]
    own = own.loc[own["p"] < _SURE].sort_values("ks", ascending=False)
    what = ", ".join(own["statistic"].head(3)) or "no single statistic"
    return (
        f"A classifier tells {names} apart (AUROC {number(apart.value)}, {said_interval(apart)}, "
        f"p = {line['p']:.2g}): they are not of one distribution; most moved has {what}."
    )


def _to_model(line: Mapping[str, Any]) -> Iterator[str]:
    if line.get("model_p", 1.0) < _SURE:
        apart = told(line, "model_auroc")
        yield (
            f"In the model's features {line['first']} and {line['second']} images are told apart "
            f"(AUROC {number(apart.value)}, {said_interval(apart)}, p = {line['model_p']:.2g}), "
            "which a model that has learnt one of the splits by heart brings about itself."
        )


def _shares(line: Mapping[str, Any]) -> Iterator[str]:
    if line["label_p"] < _SURE:
        effect = told(line, "cramers_v")
        yield (
            f"Classes have other shares in {line['first']} than in {line['second']} images "
            f"(Cramér's V {number(effect.value)}, {said_interval(effect)}, p = "
            f"{line['label_p']:.2g})."
        )
