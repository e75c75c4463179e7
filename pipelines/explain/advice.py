"""What the findings advise: which layer holds a network back, and which class lacks images.

Only what is beyond chance is told: tests of one kind are corrected together (Holm 1979).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from callbacks.reductions import accuracy
from callbacks.results import ProbeResult, records
from callbacks.statistics import Interval, holm, rate
from callbacks.words import percent, rate_with_ends
from pipelines.explain.cell import Stage

_LEVEL = 0.05
_SHOWN_CLASSES = 3
_IDLE = 0.1
"""Share of a layer's units that do nothing of their own, from which it is told."""
_SILENT_BOUND = 0.01
"""Share of images in which a unit that was never seen to fire may still do so."""


class Advice(NamedTuple):
    """What is advised, and the numbers that it rests on.

    Args:
        about: a layer or a class.
        finding: with its numbers.
        advice: what to do.
    """

    about: str
    finding: str
    advice: str

    def __str__(self) -> str:
        return f"{self.advice}: {self.finding}."


def advices(
    stages: Mapping[str, Stage], results: Sequence[ProbeResult], classes: Sequence[str]
) -> list[Advice]:
    """Everything that stands out, or nothing.

    Args:
        stages: of an explanation; `depth` and `monitor` are read.
        results: of the pass over the test data: the undisturbed images tell of classes, damage of
            one layer at a time tells of layers.
        classes: their names.
    """
    advice: list[Advice] = []
    if "depth" in stages:
        advice += bottleneck(stages["depth"].tables["depth"], stages["depth"].facts["head"])
        advice += idle_units(stages["depth"], stages["monitor"].tables["layers"])
    for result in results:
        if result.name == "clean" and len(result.rows):
            trained = stages["depth"].facts["trained"] if "depth" in stages else []
            advice += weak_classes(result.rows, classes, trained)
        if result.name.endswith("_by_layer"):
            advice += fragile_layer(result)
    return advice


def bottleneck(table: pd.DataFrame, head: str = "") -> Iterator[Advice]:
    """The layer that knows more than the network answers, if there is one.

    Args:
        table: `depth`, in the order of the layers' calls.
        head: name of the layer whose answer is the network's.
    """
    lines = [line for line in records(table) if np.isfinite(line.get("p", np.nan))]
    better = [
        line
        for line, p in zip(lines, holm([line["p"] for line in lines]), strict=True)
        if p < _LEVEL and line["gain"] > 0
    ]
    if not better:
        return
    best, names = max(better, key=lambda line: line["gain"]), [*map(_short, table["layer"])]
    name = _short(best["layer"])
    behind = [other for other in names[names.index(name) + 1 :] if other != _short(head)]
    read, gain = (_interval(best, column) for column in ("probe", "gain"))
    yield Advice(
        f"layer {name}",
        f"a linear probe reads the class from {name} on {rate_with_ends(read)} % of "
        f"{best['n']:,} images, {rate_with_ends(gain)} points more than the network answers; that "
        "much is lost behind it",
        f"Retrain what follows {name}, {behind[0]} first"
        if behind
        else "Retrain the head (assay fine-tune --tuning.mode linear_probe)",
    )


def idle_units(depth: Stage, layers: pd.DataFrame) -> Iterator[Advice]:
    """Layers many of whose units are silent or repeat others.

    Args:
        depth: the stage.
        layers: table of the monitor, with `layer units silent bound`.
    """
    silent = {line["layer"]: line for line in records(layers)}
    for line in records(depth.tables["depth"]):
        seen = silent.get(line["layer"], {"silent": 0, "bound": 1.0})
        dead = int(seen["silent"]) if seen["bound"] <= _SILENT_BOUND else 0
        if dead + line["redundant"] < _IDLE * line["units"]:
            continue
        name = _short(line["layer"])
        told = [
            f"{dead} of {line['units']} units of {name} were always zero (such a unit fires in at "
            f"most {percent(seen['bound'], 2)} % of images, 95 %)",
            f"{line['redundant']} of {line['units']} repeat another (|r| beyond .95 at 95 %, on "
            f"{depth.facts['images']:,} images)",
        ]
        finding = " and ".join(t for t, n in zip(told, (dead, line["redundant"]), strict=True) if n)
        yield Advice(f"layer {name}", finding, f"Make {name} narrower, or revive it by retraining")


def weak_classes(
    rows: pd.DataFrame, classes: Sequence[str], trained: Sequence[int] = ()
) -> Iterator[Advice]:
    """Classes of which less is right than of all others together (Fisher's exact test).

    Of a class that is ruled out in all of its images, more of them would not help; a network that
    answers everything alike says nothing about classes.

    Args:
        rows: of the undisturbed images.
        classes: their names.
        trained: training images of each, where they were counted.
    """
    if rows["prediction"].nunique() < 2:
        return
    label, correct = rows["label"].to_numpy(int), rows["correct"].to_numpy(float)
    shown = np.unique(label)
    images, right = (np.bincount(label, w)[shown] for w in (None, correct))
    hits, n = int(right.sum()), len(label)
    p = holm(stats.hypergeom.cdf(right, n, hits, images))
    for i in [i for i in p.argsort(kind="stable") if p[i] < _LEVEL][:_SHOWN_CLASSES]:
        k, c, s = int(shown[i]), int(images[i]), int(right[i])
        count = f", {trained[k]:,} for training" if len(trained) else ""
        yield Advice(
            f"class {classes[k]}",
            f"{rate_with_ends(rate(s, c))} % of its {c:,} images are right{count}, of the other "
            f"classes {percent((hits - s) / (n - c))} %{_taken_for(rows, k, classes)}",
            _mended(rows, k, classes[k]),
        )


def _mended(rows: pd.DataFrame, label: int, name: str) -> str:
    """What helps a class: images, unless its logit is minus infinity whatever they show."""
    losses = rows.loc[rows["label"] == label, "loss"]
    if np.isposinf(losses.to_numpy(float)).all():
        return f"Let the model answer {name}, whose logit is minus infinity"
    return f"Give more training images of {name}"


def _taken_for(rows: pd.DataFrame, label: int, classes: Sequence[str]) -> str:
    """What errors of a class are mostly taken for, where it is more than one by chance would be."""
    wrong = rows.loc[(rows["label"] == label) & (rows["correct"] == 0), "prediction"]
    wrong = wrong[wrong >= 0]  # -1 is no answer
    if not len(wrong) or len(classes) < 3:
        return ""
    most, count = int(wrong.mode()[0]), int((wrong == wrong.mode()[0]).sum())
    chance = stats.binomtest(count, len(wrong), 1 / (len(classes) - 1), "greater").pvalue
    if chance * (len(classes) - 1) >= _LEVEL:  # the largest of so many
        return ""
    return f"; {count:,} of {len(wrong):,} errors take it for {classes[most]}"


def fragile_layer(result: ProbeResult) -> Iterator[Advice]:
    """The layer whose damage leaves less than that of any other, beyond both intervals.

    Args:
        result: of damage of one layer at a time.
    """
    left = {result.said(value): accuracy(result.at(step)) for step, value in result.values.items()}
    if len(left) < 2 or not result.places:
        return
    worst, second = sorted(left, key=lambda name: left[name].value)[:2]
    rest = min(share.low for name, share in left.items() if name != worst)
    if np.isfinite(rest) and left[worst].high < rest:
        yield Advice(
            f"layer {worst}",
            f"{result.title} leaves {rate_with_ends(left[worst])} % there, and "
            f"{rate_with_ends(left[second])} % in {second}, the next one",
            f"Protect {worst} first, or retrain with damage of it",
        )


def _interval(line: Mapping[str, float], name: str) -> Interval:
    return Interval(*(float(line[f"{name}{end}"]) for end in ("", "_low", "_high")))


def _short(layer: str) -> str:
    return layer.removeprefix("model.")
