"""The report: one HTML file that needs nothing beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from callbacks.reductions import compare, per_class
from callbacks.statistics import Interval
from pipelines.evaluation import Evaluation
from pipelines.report.figures import as_svg, curves

_HERE = Path(__file__).parent


def write_report(evaluations: Sequence[Evaluation], file: Path) -> Path:
    """Writes the report of one evaluation, or of several side by side, and returns the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_html(evaluations), encoding="utf-8")
    return file


def as_html(evaluations: Sequence[Evaluation]) -> str:
    """Renders the report; the styles, figures and numbers are inside it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=jinja2.select_autoescape(default_for_string=True, default=True),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["interval"] = interval
    environment.filters["number"] = number
    figures = {name: as_svg(figure) for name, figure in curves(evaluations).items()}
    return environment.get_template("report.html.jinja").render(
        evaluations=evaluations,
        figures=figures,
        style=(_HERE / "report.css").read_text(),
        comparisons=_comparisons(evaluations),
        classes=_classes(evaluations),
    )


def percent(value: Interval) -> str:
    """A rate in per cent with one decimal."""
    return f"{100 * value.value:.1f} %"


def interval(value: Interval, scale: float = 100, digits: int = 1) -> str:
    """Both ends, or nothing where there is no interval."""
    if value.low != value.low:
        return ""
    return f"{scale * value.low:.{digits}f} to {scale * value.high:.{digits}f}"


def number(value: float, digits: int = 3) -> str:
    """A number, or a dash for what is not one."""
    return "–" if value != value else f"{value:,.{digits}f}"


def _comparisons(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Paired differences of every further evaluation from the first, on common samples."""
    if len(evaluations) < 2:
        return []
    first, *others = evaluations
    found = []
    for other in others:
        tables = [
            compare(result.rows, matching.rows).assign(title=result.title)
            for result in first.results
            if (matching := other.result(result.name)) is not None
        ]
        lines = pd.concat(tables).to_dict("records") if tables else []
        found.append({"one": first.model["name"], "other": other.model["name"], "lines": lines})
    return found


def _classes(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Accuracy by class, clean and at every probe's headline severity."""
    found = []
    for evaluation in evaluations:
        columns = [result for result in evaluation.results if len(result.rows)]
        tables = [
            per_class(one.at_headline, evaluation.model["classes"]).set_index("class")
            for one in columns
        ]
        names = [
            name for name in evaluation.model["classes"] if any(name in t.index for t in tables)
        ]
        lines = [(name, [t["acc"].get(name, float("nan")) for t in tables]) for name in names[:100]]
        headings = [
            result.title
            + (f" {result.at_headline['value'].iloc[0]:.3g}" if result.unit != "none" else "")
            for result in columns
        ]
        found.append({"model": evaluation.model["name"], "headings": headings, "lines": lines})
    return found
