"""How far it can be told what a repair brings back: sentence, numbers, table and figure."""

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import ends, number, said_interval
from pipelines.recover.damages import title_of
from pipelines.recover.features import FEATURES
from pipelines.recover.predictor import LEAST_KINDS, TARGETS, errors
from pipelines.recover.strategies import strategy_named
from pipelines.recover.table import groups
from pipelines.report.figures import COLOURS, LOOK, SOFT, drawn
from pipelines.report.sections import Cell, Section, Sheet
from pipelines.study import slug

Line = Mapping[str, Any]
_NUMBERS = {
    "error": "{} told to ±",
    "mean_error": "{} told by the mean to ±",
    "difference": "{}: error less that of the mean",
}
_COLUMNS = (
    "model",
    "told",
    "repair",
    "kinds",
    "repairs",
    "told to ±",
    "mean alone ±",
    "difference",
)
_SHORT = {"ratio": ("ratio", "Ratio"), "acc_repaired": ("acc", "Accuracy")}
_MARKERS = "osD^vP"


def predictor_headline(predicted: pd.DataFrame) -> dict[str, Number]:
    """Errors of the predictor, of the mean, and their difference, of ratio and accuracy.

    Args:
        predicted: of `predictions`, of one model.
    """
    numbers = {}
    for line in _overall(predicted):
        asked = f"{sorted(set(predicted['damage']))} {line['cells']}"
        short, what = _SHORT[line["target"]]
        note = f"{TARGETS[line['target']]}, kinds of damage not learnt from"
        for name, title in _NUMBERS.items():
            is_card = (short, name) == ("ratio", "error")
            told = Number(title.format(what), _interval(line, name), "", note, asked, is_card)
            numbers[f"predictor_{short}_{name}"] = told
    return numbers


def predictor_sentences(predicted: pd.DataFrame, features: pd.DataFrame) -> Iterator[str]:
    """Whether the predictor is worth it; nothing where no model was described.

    Args:
        predicted: of `predictions`, of one model.
        features: of its damaged models.
    """
    if features.empty:
        return
    lines = {line["target"]: line for line in _overall(predicted)}
    if "ratio" not in lines:
        kinds = len({told["damage"] for told in records(predicted) if told["target"] == "ratio"})
        yield (
            f"What a repair will bring back is not predicted: that takes {LEAST_KINDS} kinds of "
            f"damage outside the noise, and here {'is' if kinds == 1 else 'are'} {kinds}."
        )
        return
    yield (
        "Before any repair, of kinds of damage that were not learnt from, the damaged model tells "
        f"the share that will come back to {_worth(lines['ratio'])}."
    )
    yield f"The accuracy after the repair it tells to {_worth(lines['acc_repaired'])}."


def predictor_section(predicted: pd.DataFrame, features: pd.DataFrame) -> Section:
    """Errors of the predictor and of the mean, by what is told and by repair, and a figure.

    Args:
        predicted: of `predictions`, of all models.
        features: of their damaged models.
    """
    lines = [] if predicted.empty else records(errors(predicted))
    told = [line for line in lines if line["target"] == "ratio"]
    figures = {
        f"{slug(key['subject'])}_predicted": _scatter(part)
        for key, part in groups(predicted, ["subject"])
        if any(line["subject"] == key["subject"] for line in told)
    }
    repairs, ratios = (int((predicted["target"] == x).sum()) for x in ("acc_repaired", "ratio"))
    text = (
        "Ridge regression on the ranks of what is seen of a damaged model before it is repaired, "
        "learnt for each repair on all kinds of damage but one and judged on that one: mean "
        "absolute errors, every kind counting once. The mean alone is that of the kinds learnt "
        f"from. Below 0 the predictor is better. {len(features):,} damaged models; of "
        f"{repairs:,} repairs {repairs - ratios:,} have no ratio, as their damage is inside the "
        "noise. A kind is what a damage is called: a relative of the one held out, such as "
        "zeroing at random and zeroing the largest, may be among those learnt from."
    )
    caption = "in brackets: 95 % interval over kinds of damage"
    shown = [_cells(line) for line in lines]
    sheets = [
        Sheet(_COLUMNS, shown, "", caption),
        Sheet(
            _COLUMNS[1:], [cells[1:] for cells, line in zip(shown, lines, strict=True)
            if line["strategy"] == "all"], "Told before any repair", caption, on_page=False,
            in_terminal=True,
        ),
    ]  # fmt: skip
    return Section(
        "Told before any repair", text, figures, sheets=sheets if lines else [], terms=_TERMS,
        notes=[] if told else list(predictor_sentences(predicted, features)),
    )  # fmt: skip


_TERMS = {
    name.replace("_", " "): f"{what[0].upper()}{what[1:]}." for name, what in FEATURES.items()
}


def _overall(predicted: pd.DataFrame) -> list[dict[str, Any]]:
    """The errors of one model over all repairs, by target."""
    lines = [] if predicted.empty else records(errors(predicted))
    return [line for line in lines if line["strategy"] == "all"]


def _worth(line: Line) -> str:
    error, mean, change = (_interval(line, name) for name in _NUMBERS)
    between = f"difference {ends(change.low, change.high, digits=2)}"
    verdict = (
        "worth asking" if change.high < 0
        else "worse than not to ask" if change.low > 0
        else "not worth asking by these kinds"
    )  # fmt: skip
    told, by_mean = (
        f"±{number(interval.value, 2)} ({said_interval(interval, digits=2)})"
        for interval in (error, mean)
    )
    return f"{told}, the mean of the other kinds to {by_mean}: {verdict} ({between})"


def _interval(line: Line, name: str) -> Interval:
    return Interval(*(line[f"{name}{end}"] for end in ("", "_low", "_high")))


def _cells(line: Line) -> list[Cell | str]:
    every = line["strategy"] == "all"
    return [
        line["subject"],
        TARGETS[line["target"]],
        "all" if every else strategy_named(line["strategy"]).title,
        str(line["kinds"]),
        f"{line['cells']:,}",
        *(_error(_interval(line, name)) for name in ("error", "mean_error")),
        _change(_interval(line, "difference")),
    ]


def _error(error: Interval) -> Cell:
    return Cell(number(error.value), ends(error.low, error.high, digits=3))


def _change(change: Interval) -> Cell:
    """Less is better here."""
    tone = "better" if change.high < 0 else "worse" if change.low > 0 else ""
    return Cell(f"{change.value:+.3f}", ends(change.low, change.high, digits=3), tone=tone)


def _scatter(predicted: pd.DataFrame) -> Figure:
    """What came back against what was told, a sign a kind of damage."""
    known = predicted[(predicted["target"] == "ratio") & predicted["predicted"].notna()]
    figure, axes = drawn(height=4.6)
    with mpl.rc_context(LOOK):
        for place, (key, part) in enumerate(groups(pd.DataFrame(known), ["damage"])):
            axes.plot(
                part["predicted"], part["value"], _MARKERS[place // len(COLOURS) % len(_MARKERS)],
                color=COLOURS[place % len(COLOURS)], markersize=4, alpha=0.7,
                label=title_of(key["damage"]),
            )  # fmt: skip
        low, high = min(0.0, known["predicted"].min()), max(1.0, known["predicted"].max())
        axes.plot([low, high], [low, high], color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set(title="Share that came back", xlabel="told before the repair", ylabel="came back")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure
