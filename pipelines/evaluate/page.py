"""The report: one HTML file that needs nothing beside it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from callbacks.reductions import compare
from callbacks.statistics import Interval
from pipelines.evaluate.figures import curves, model_names
from pipelines.evaluate.probe_results import ProbeResult, records
from pipelines.evaluate.result import Evaluation
from pipelines.evaluate.sentences import verdict
from pipelines.report.figures import as_svg
from pipelines.report.words import ends, number, percent, radius

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"
_MANY_CLASSES = 24
"""Of more classes only the worst are shown; the table in MLflow has all."""


def write_report(evaluations: Sequence[Evaluation], file: Path) -> Path:
    """Writes the report of one evaluation, or of several side by side, and returns the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_html(evaluations), encoding="utf-8")
    return file


def as_html(evaluations: Sequence[Evaluation]) -> str:
    """Renders the report; the styles, figures and numbers are inside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number}
    names = model_names(evaluations)
    figures = {name: as_svg(figure, name) for name, figure in curves(evaluations).items()}
    return environment.get_template("evaluate.html.jinja").render(
        evaluations=list(zip(names, evaluations, strict=True)),
        several=len(evaluations) > 1,
        figures=figures,
        style=_STYLE.read_text(encoding="utf-8"),
        cards=[cards(evaluation) for evaluation in evaluations],
        glance=glance(evaluations),
        comparisons=comparisons(evaluations),
        classes=[by_class(evaluation) for evaluation in evaluations],
        verdict=verdict,
        ends=ends,
        radius=radius,
        records=records,
        bar=lambda *rate: bar(Interval(*rate)),
    )


def bar(rate: Interval) -> Markup:
    """A rate with its interval drawn on a line from 0 to 100 %."""
    low, high = 100 * rate.low, 100 * rate.high
    return Markup(
        '<span class="bar"><i style="left:{}%;width:{}%"></i><b style="left:{}%"></b></span>'
    ).format(f"{low:.2f}", f"{max(high - low, 0.6):.2f}", f"{100 * rate.value:.2f}")


def shift(low: float, value: float, high: float, widest: float) -> Markup:
    """A difference with its interval drawn on a line with nothing in the middle."""
    left, dot, right = (50 + 50 * end / widest for end in (low, value, high))
    return Markup(
        '<span class="bar shift"><i style="left:{}%;width:{}%"></i><b style="left:{}%"></b></span>'
    ).format(f"{left:.2f}", f"{max(right - left, 0.6):.2f}", f"{dot:.2f}")


def cards(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The headline numbers, each with what it is: `name value unit range rate note`."""
    found = evaluation.headline
    made = []
    if "clean_acc" in found:
        n = len(next(one for one in evaluation.results if one.name == "clean").rows)
        made.append(_card("Clean accuracy", found["clean_acc"], f"on {n:,} images"))
    for one in evaluation.attacks:
        names = " and ".join(result.title.split(" (")[0] for result in one.measured(one.step))
        at = radius(one.radius, one.results[0].unit)
        note = f"under {names} on {len(one.at_headline):,} images"
        accuracy = found[f"adversarial_{one.norm}_acc"]
        made.append(_card(f"Robust accuracy at {one.sign} {at}", accuracy, note))
    if "clean_ece" in found:
        note = "15 bins; 0 is perfect"
        made.append(_card("Calibration error", found["clean_ece"], note, rate=False))
    if "error_auroc" in found and math.isfinite(found["error_auroc"].value):
        note = "confidence tells errors; 0.5 is chance, 1 perfect"
        made.append(_card("Error AUROC", found["error_auroc"], note, rate=False))
    return made


def glance(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """The same cards as lines of a table: name, then one card or nothing for every model."""
    made = [{card["name"]: card for card in cards(one)} for one in evaluations]
    names = dict.fromkeys(name for cards_of_one in made for name in cards_of_one)
    return [(name, [cards_of_one.get(name) for cards_of_one in made]) for name in names]


def comparisons(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Paired differences of every further evaluation from the first, on common samples.

    Returns:
        `one` and `other` (names), `lines`, and `problem` where the two were measured on other data.
    """
    first, *others = evaluations
    names = model_names(evaluations)
    found = []
    for name, other in zip(names[1:], others, strict=True):
        same = _source(first) == _source(other)
        problem = "" if same else "They were measured on other images, so no test can pair them."
        lines = _paired(first, other) if same else []
        widest = max([abs(line[end]) for line in lines for end in ("low", "high")] or [0]) or 1
        for line in lines:
            ends_and_value = line["low"], line["difference"], line["high"]
            line["shift"] = shift(*ends_and_value, widest)
        found.append({"one": names[0], "other": name, "lines": lines, "problem": problem})
    return found


def by_class(evaluation: Evaluation) -> dict[str, Any]:
    """Accuracy by class: `columns`, `lines` of name and values, and how many are `left_out`."""
    table, counts = evaluation.by_class("acc"), evaluation.by_class("n")
    columns = list(table.columns[1:])
    if len(table) > _MANY_CLASSES:  # those that are low beyond doubt, not those with one image
        surely = evaluation.by_class("acc_high")[columns].min(axis=1)
        table = table.loc[surely.sort_values(kind="stable").index]
    shown = table.head(_MANY_CLASSES)
    n = dict(zip(counts["class"], counts[columns].max(axis=1), strict=True))
    lines = [
        (name, f"{n[name]:,.0f}", values)
        for name, *values in shown[["class", *columns]].itertuples(index=False)
    ]
    titles = [_titled(result) for result in evaluation.results if len(result.rows)]
    return {"columns": titles, "lines": lines, "left_out": len(table) - len(shown)}


def _titled(result: ProbeResult) -> str:
    """`PGD (L∞) 8/255`."""
    value = float(result.at_headline["value"].iloc[0])
    return f"{result.title} {radius(value, result.unit)}" if value else result.title


def _card(name: str, found: Interval, note: str, rate: bool = True) -> dict[str, Any]:
    scale, digits = (100, 1) if rate else (1, 3)
    return {
        "name": name,
        "value": percent(found.value) if rate else number(found.value),
        "unit": "%" if rate else "",
        "range": ends(found.low, found.high, scale, digits),
        "bar": bar(found) if rate and math.isfinite(found.low) else "",
        "note": note,
    }


def _paired(first: Evaluation, other: Evaluation) -> list[dict[str, Any]]:
    tables = [
        compare(result.rows, matching.rows).assign(title=result.title, unit=result.unit)
        for result in first.results
        if (matching := other.result(result.name)) is not None
    ]
    return records(pd.concat(tables)) if tables else []


def _source(evaluation: Evaluation) -> Any:
    """What the sample indices are positions in."""
    return evaluation.data["name"], evaluation.data["splits"]["test"]["digest"]
