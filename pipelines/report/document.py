"""The JSON twin of the page; `report.schema.json` says what stands in it."""

import json
from collections.abc import Sequence
from typing import Any

from callbacks.family import Number
from pipelines.report.model_card import Stated, card_of
from pipelines.report.page import heading_of, restricted
from pipelines.report.result import Result, strict_json
from pipelines.report.scope import repeat, untested
from pipelines.report.sections import Section

SCHEMA = "assay.report"
VERSION = 1
"""Grows by one when a reader of the last version would misread a file."""


def as_json(results: Sequence[Result], stated: Stated | None = None) -> str:
    """Every number and sentence of the page as strict JSON: what is no number is null.

    Args:
        results: one, or several side by side.
        stated: what the user says for the model card.
    """
    asked, comparison = restricted(results)
    document = {
        "schema": SCHEMA,
        "schema_version": VERSION,
        "title": heading_of(asked),
        "results": [_result(result, stated) for result in asked],
        "comparison": [_section(section) for section in comparison],
    }
    told = strict_json(document)
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _result(result: Result, stated: Stated | None) -> dict[str, Any]:
    about = {name: part for name, part in result.about.as_dict().items() if name != "examples"}
    return {
        "question": result.room,
        "title": result.title,
        "about": about,
        "headline": {name: _number(found) for name, found in result.headline().items()},
        "sentences": result.sentences(),
        "notes": list(result.about.notes),
        "tables": {
            name: json.loads(str(table.to_json(orient="split", index=False, double_precision=15)))
            for name, table in result.tables().items()
        },
        "not_tested": untested(result),
        "how_to_repeat": {"command": result.about.command, **dict(repeat(result))},
        "model_card": {part.title: list(part.lines) for part in card_of(result, stated)},
    }


def _number(found: Number) -> dict[str, Any]:
    value, low, high = found.interval
    return {
        "title": found.title, "value": value, "low": low, "high": high, "unit": found.unit,
        "of": found.note, "conditions": found.conditions,
    }  # fmt: skip


def _section(section: Section) -> dict[str, Any]:
    tables = [
        {"title": one.title, "columns": one.columns, "data": [[*map(str, x)] for x in one.cells]}
        for one in section.sheets
    ]
    return {
        "title": section.title, "text": section.text, "notes": section.notes, "tables": tables,
    }  # fmt: skip
