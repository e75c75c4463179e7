"""The Markdown twin of the page, and the model card as a file of its own."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from pipelines.report.figures import save_png
from pipelines.report.model_card import CardPart, Stated, card_of, told
from pipelines.report.page import facts_of, heading_of, model_names, restricted
from pipelines.report.result import Result, figures_of
from pipelines.report.scope import repeat, untested
from pipelines.report.sections import Section, Sheet

_SPECIAL = re.compile(r"([\\`*\[\]|])|(?<!\w)_|_(?!\w)")
"""What Markdown would read as markup; a low line inside a word is none."""


def write_markdown(
    results: Sequence[Result], file: Path, stated: Stated | None = None, drawn: bool = False
) -> Path:
    """Writes the Markdown twin, with its figures as PNG in `figures/` beside it.

    Args:
        results: one, or several side by side.
        file: to write.
        stated: what the user says for the model card.
        drawn: the figures of the one result are there already.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    asked, comparison = restricted(results)
    of_each = [comparison, *(result.sections() for result in asked)]
    paths = []
    for i, sections in enumerate(of_each):
        before = f"{i}_" if len(asked) > 1 else ""
        pictures = figures_of(sections)
        paths.append({name: f"figures/{before}{name}.png" for name in pictures})
        for name, figure in pictures.items():
            if not drawn:
                save_png(figure, file.parent / paths[-1][name])
    text = _text(asked, comparison, stated, paths)
    file.write_text(text, encoding="utf-8")
    return file


def as_markdown(results: Sequence[Result], stated: Stated | None = None) -> str:
    """The twin by itself: its figures are left out, and it says so."""
    asked, comparison = restricted(results)
    return _text(asked, comparison, stated, None)


def as_model_card(results: Sequence[Result], stated: Stated | None = None) -> str:
    """The model cards alone, under the front matter that Hugging Face reads."""
    front = {
        "pipeline_tag": "image-classification",
        "tags": ["assay"],
        **({"license": stated["license"]} if stated and "license" in stated else {}),
    }
    parts = [f"---\n{yaml.safe_dump(front, sort_keys=False)}---"]
    for result in results:
        parts += [f"# Model card: {_safe(result.title)}", *_card(card_of(result, stated), "##")]
    return _joined(parts)


def _text(
    results: Sequence[Result],
    comparison: Sequence[Section],
    stated: Stated | None,
    paths: Sequence[Mapping[str, str]] | None,
) -> str:
    parts = [f"# {_safe(heading_of(results))}"]
    parts += [_list(dict.fromkeys(line for one in results for line in facts_of(one)))]
    names = model_names(results) if len(results) > 1 else [""]
    for name, result in zip(names, results, strict=True):
        parts += _verdict(result, name)
    if paths is None:
        parts.append("*Figures are left out of this file; report.html has them.*")
    for section in comparison:
        parts += _section(section, "", paths[0] if paths else {})
    for i, (name, result) in enumerate(zip(names, results, strict=True), 1):
        for section in result.sections():
            if section.title:
                parts += _section(section, name, paths[i] if paths else {})
        parts += _end(result, name, stated)
    return _joined(parts)


def _verdict(result: Result, name: str) -> Iterator[str]:
    if name:
        yield f"## {_safe(name)}"
    if result.about.interrupted:
        yield "> **Interrupted.** These are the rows so far."
    yield from (_quoted(sentence) for sentence in result.sentences())
    yield from (f"> **Note:** {_safe(note)}" for note in result.about.notes)
    lines = [
        [one.title, *told(one).split(", 95 % interval "), one.note]
        if ", 95 % interval " in told(one)
        else [one.title, told(one).removesuffix(", no interval"), "", one.note]
        for one in result.headline().values()
    ]
    yield _table(["number", "value", "95 % interval", "of"], lines)


def _section(section: Section, of: str, paths: Mapping[str, str]) -> Iterator[str]:
    yield f"## {_safe(', '.join(part for part in (section.title, of) if part))}"
    if section.text:
        yield _safe(section.text)
    yield from (f"> **Note:** {_safe(note)}" for note in section.notes)
    for name in (*section.figures, *section.pictures):
        if name in paths:
            yield f"![{_safe(name.replace('_', ' '))}]({paths[name]})"
    for sheet in section.sheets:
        if sheet.on_page:
            yield from _sheet(sheet)
    if section.terms:
        yield _list(f"{term}: {text}" for term, text in section.terms.items())


def _sheet(sheet: Sheet) -> Iterator[str]:
    if sheet.title:
        yield f"### {_safe(sheet.title)}"
    shown = [i for i, _ in enumerate(sheet.columns) if i not in sheet.drawn]
    sides = ["---" if i in sheet.words else "---:" for i in shown]
    lines = [[str(line[i]) for i in shown] for line in sheet.cells]
    yield _table([sheet.columns[i] for i in shown], lines, sides)
    if sheet.caption:
        yield f"*{_safe(sheet.caption)}*"


def _end(result: Result, name: str, stated: Stated | None) -> Iterator[str]:
    of = f", {_safe(name)}" if name else ""
    yield f"## What was not tested{of}"
    yield _list(untested(result))
    yield f"## How to get it again{of}"
    if result.about.command:
        yield "\n".join(f"    {line}" for line in result.about.command.splitlines())
    yield _table(["", ""], list(repeat(result)))
    yield f"## Model card{of}"
    yield from _card(card_of(result, stated), "###")


def _card(parts: Sequence[CardPart], level: str) -> Iterator[str]:
    for part in parts:
        yield f"{level} {part.title}"
        yield _list(f"{name}: {text}" for name, text in part.lines)


def _table(
    columns: Sequence[str], lines: Sequence[Sequence[str]], sides: Sequence[str] | None = None
) -> str:
    rows = [columns, sides or ["---"] * len(columns), *lines]
    told = [[cell if i == 1 else _safe(cell) for cell in row] for i, row in enumerate(rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in told)


def _list(lines: "Iterator[str] | Sequence[str] | dict[str, None]") -> str:
    return "\n".join(f"- {_safe(line)}" for line in lines)


def _quoted(sentence: str) -> str:
    return f"> {_safe(sentence)}"


def _safe(text: str) -> str:
    """Text as text: neither Markdown nor HTML."""
    escaped = _SPECIAL.sub(lambda found: f"\\{found[0]}", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
