"""The page of any result, or of several side by side: one HTML file, nothing beside it."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.statistics import Interval
from callbacks.words import DASH, ends, number, percent
from pipelines.report.figures import as_svg, described, is_wide, save_png
from pipelines.report.model_card import Stated, card_of
from pipelines.report.result import Result
from pipelines.report.scope import repeat, untested
from pipelines.report.sections import Cell, Section, Sheet

_HERE = Path(__file__).parent
_PURPOSES = "what a classifier is made of"
_TERMS = {
    "Accuracy": "Share of images classified correctly, with its 95 % interval.",
    "ECE": "Expected calibration error: how far confidence is from accuracy, over 15 bins. "
    "0 is perfect.",
    "Brier": "Squared distance of the probabilities from the truth, 0 to 2; 0 is perfect.",
    "Error AUROC": "Probability that an error is less confident than a correct answer. 0.5 is "
    "chance; below, errors are the confident ones.",
    "p": "McNemar's exact test that two models err equally often on the same images, corrected by "
    "Holm over the lines of a table.",
}


def write_page(results: Sequence[Result], file: Path, stated: Stated | None = None) -> Path:
    """Writes the page of one result, or of several side by side, and returns the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(as_html(results, stated), encoding="utf-8")
    return file


def as_html(results: Sequence[Result], stated: Stated | None = None, printed: bool = False) -> str:
    """Renders the page; styles, figures and numbers are inside it.

    Args:
        results: one, or several side by side.
        stated: what the user says for the model card.
        printed: what a reader of the screen would open is open.
    """
    asked, comparison = restricted(results)
    names = model_names(asked)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("base.html.jinja").render(
        results=asked,
        names=names,
        several=len(asked) > 1,
        heading=heading_of(asked),
        purpose=_PURPOSES,
        glance=glance(asked),
        comparison=comparison,
        terms=_terms([*comparison, *(s for result in asked for s in result.sections())], asked),
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
        facts=list(dict.fromkeys(line for result in asked for line in facts_of(result))),
        repeat=repeat,
        untested=untested,
        card=[card_of(result, stated) for result in asked],
        printed=printed,
        shown=_shown,
        interval=_interval,
        bar=bar,
        shift=shift,
        svg=_svg,
        png=_png,
        is_wide=is_wide,
    )


def restricted(results: Sequence[Result]) -> tuple[list[Result], list[Section]]:
    """Leaves of several results of one question what all were asked, and compares them.

    Results of different questions stand side by side as they are.
    """
    first, *others = results
    sections: list[Section] = []
    kept = [first]
    for other in others:
        if other.room == first.room:
            kept[0], other, compared = kept[0].beside(other)
            sections += compared
        kept.append(other)
    if len(others) > 1:  # what a later one lacks goes from the earlier ones too
        kept[1:] = [
            other.beside(kept[0])[0] if other.room == first.room else other for other in kept[1:]
        ]
    together = getattr(type(first), "together", None)  # what a question shows of all at once
    if others and together and all(other.room == first.room for other in others):
        sections += together(kept, model_names(kept))
    return kept, sections


def model_names(results: Sequence[Result]) -> list[str]:
    """Names to tell results by; equal ones are numbered."""
    names = [
        " and ".join(str(model["name"]) for model in one.about.models) or one.title
        for one in results
    ]
    numbered = [f"{name} ({1 + names[:i].count(name)})" for i, name in enumerate(names)]
    return [
        many if names.count(name) > 1 else name for name, many in zip(names, numbered, strict=True)
    ]


def glance(results: Sequence[Result]) -> Sheet:
    """The headline numbers of several results: a line a number, a column a result.

    Numbers of other conditions do not stand side by side: the line says that they were asked
    something else.
    """
    headlines = [result.headline() for result in results]
    names = list(dict.fromkeys(name for headline in headlines for name in headline))
    lines = [line for name in names if (line := _glance_line(name, headlines))]
    return Sheet(["", *model_names(results)], lines)


def bar(rate: Interval) -> Markup:
    """A rate with its interval drawn on a line from 0 to 100 %."""
    low, high = (100 * min(max(end, 0.0), 1.0) for end in (rate.low, rate.high))
    if low != low:
        low = high = 100 * rate.value
    said = f"{percent(rate.value)} %, 95 % interval {ends(rate.low, rate.high, 100, 1)}"
    return Markup(
        '<span class="bar" role="img" aria-label="{}"><i style="left:{}%;width:{}%"></i>'
        '<b style="left:{}%"></b></span>'
    ).format(said, f"{low:.2f}", f"{max(high - low, 0.6):.2f}", f"{100 * rate.value:.2f}")


def shift(change: Interval, widest: float) -> Markup:
    """A difference with its interval drawn on a line with nothing in the middle."""
    dot, left, right = (50 + 50 * end / (widest or 1.0) for end in change)
    said = f"{100 * change.value:+.1f}, {100 * change.low:+.1f} to {100 * change.high:+.1f} points"
    return Markup(
        '<span class="bar shift" role="img" aria-label="{}"><i style="left:{}%;width:{}%"></i>'
        '<b style="left:{}%"></b></span>'
    ).format(said, f"{left:.2f}", f"{max(right - left, 0.6):.2f}", f"{dot:.2f}")


def _glance_line(name: str, headlines: Sequence[Mapping[str, Number]]) -> list[Cell | str]:
    numbers = [headline.get(name) for headline in headlines]
    present = [found for found in numbers if found is not None]
    alike = len({found.conditions for found in present}) == 1
    cells: list[Cell | str] = [present[0].title]
    for found in numbers:
        text = DASH if found is None else f"{_shown(found)} {found.unit}".strip()
        small = "" if found is None else _interval(found) if alike else "asked otherwise"
        cells.append(Cell(text if alike or found is None else DASH, small))
    return cells


def _shown(found: Number) -> str:
    value = found.interval.value
    return percent(value) if found.unit == "%" else number(value)


def _interval(found: Number) -> str:
    scale, digits = (100, 1) if found.unit == "%" else (1, 3)
    return ends(found.interval.low, found.interval.high, scale, digits)


def heading_of(results: Sequence[Result]) -> str:
    """Over the whole page."""
    return " against ".join(model_names(results)) if len(results) > 1 else results[0].title


def facts_of(result: Result) -> Iterator[str]:
    """Lines under the heading: each model, then each data set."""
    about = result.about
    for model in about.models:
        parts = [
            str(model.get("source") or model["architecture"]),
            f"{model['parameters']:,} parameters",
            f"{len(model['classes'])} classes",
        ]
        yield " · ".join([f"{model['name']}: {parts[0]}", *parts[1:]])
        if model.get("input_told"):
            yield f"{model['name']} sees {model['input_told']}"
    for data in about.data:
        splits = data["splits"]
        counts = [f"{splits[name]['samples']:,} {name} images" for name in splits]
        yield " · ".join([str(data.get("title", data["name"])), *counts, about.created[:10]])


def _terms(sections: Sequence[Section], results: Sequence[Result]) -> dict[str, str]:
    """Of the words that all pages share those that stand on this one."""
    columns = [c for section in sections for sheet in section.sheets for c in sheet.columns]
    titles = [n.title for result in results for n in result.headline().values() if n.card]
    said = f" {' '.join([*columns, *titles])} ".lower()
    return {term: text for term, text in _TERMS.items() if f" {term.lower()} " in said}


def _svg(figure: Figure, name: str, of: str) -> Markup:
    """Our own text, escaped by matplotlib."""
    return Markup(as_svg(figure, name, of))


def _png(figure: Figure, name: str, of: str) -> Markup:
    buffer = io.BytesIO()
    save_png(figure, buffer)
    data = base64.b64encode(buffer.getvalue()).decode()
    label = f"{name.replace('_', ' ')}, {of}" if of else name.replace("_", " ")
    label = ": ".join(part for part in (label, described(figure)) if part)
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(label, data)


__all__: list[str] = [
    "as_html",
    "bar",
    "facts_of",
    "glance",
    "heading_of",
    "model_names",
    "restricted",
    "shift",
    "write_page",
]
