"""What a comparison comes to, in plain words; what is no more than chance is said to be that."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import percent, with_interval
from pipelines.compare.pairing import LEVEL
from pipelines.compare.question import Question

_MOST = 12
"""Sentences of two models; the table has all lines."""
_NAMED = 4
"""Models that share the first place and are named."""


def conclusions(question: Question) -> list[str]:
    """Sentences on every probe at the severity that stands for it.

    Args:
        question: with its tables.
    """
    if question.results:
        return [
            f"Runs of `{question.room}` are compared by what all were asked alike, as "
            "`assay report` shows it; no test is corrected over all of it."
        ]
    lines = records(question.differences.query("headline"))
    of = len(question.differences)
    if len(question.models) == 2:
        lines.sort(key=lambda line: line["verdict"] == "")  # stable: what is known comes first
        said = [_between_two(line, question.models[0], of) for line in lines[:_MOST]]
        left = len(lines) - len(said)
        return said + ([f"{left:,} further lines stand in the table."] if left else [])
    against = [*_against(question.models[0], question.models[1:], lines, of)]
    return [*_first_places(question.board), *against]


def where(line: Mapping[str, Any]) -> str:
    """`under PGD (L∞) 0.2`, `on clean images`."""
    if line["probe"] == "clean":
        return "on clean images"
    title = line["title"].replace("Worst case", "the worst case")
    return f"under {title} {line['said']}".strip()


def _between_two(line: Mapping[str, Any], baseline: str, of: int) -> str:
    images = f"on the same {line['n']:,} images"
    sides = f"{line['fixed']:,} fixed, {line['broken']:,} broken"
    if not line["verdict"]:
        alone = f", p {line['p']:.2g} by itself" if line["p"] < LEVEL <= line["p_holm"] else ""
        at = where(line)
        return (
            f"{at[0].upper()}{at[1:]} {line['model']} and {baseline} cannot be told apart: "
            f"{_points(line)} {images} ({sides}{alone})."
        )
    change = Interval(*(100 * line[end] for end in ("difference", "low", "high")))
    size, *ends = change if change.value > 0 else (-change.value, -change.high, -change.low)
    return (
        f"{line['model']} is {line['verdict']} than {baseline} {where(line)} by {size:.1f} points "
        f"[{ends[0]:.1f}, {ends[1]:.1f}] {images} ({sides}; p {line['p_holm']:.2g} after Holm's "
        f"correction for {of:,} comparison{'s' if of > 1 else ''})."
    )


def _points(line: Mapping[str, Any]) -> str:
    """`+4.1 points [+2.0, +6.3]`."""
    value, low, high = (100 * line[end] for end in ("difference", "low", "high"))
    return f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _against(
    baseline: str, models: Sequence[str], lines: Sequence[Mapping[str, Any]], of: int
) -> Iterator[str]:
    """One sentence a model."""
    for model in models:
        own = [line for line in lines if line["model"] == model]
        parts = []
        for verdict in ("better", "worse"):
            told = [
                f"{where(line)} ({_points(line)})" for line in own if line["verdict"] == verdict
            ]
            more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
            parts += [f"{verdict} {', '.join(told[:_NAMED])}{more}"] if told else []
        equal = sum(not line["verdict"] for line in own)
        parts += [f"not to be told apart from it in {equal} of {len(own)}"] if equal else []
        yield f"{model} against {baseline}: {'; '.join(parts)} (Holm over {of:,} comparisons)."


def _first_places(board: pd.DataFrame) -> Iterator[str]:
    """Who is first under each probe, as far as the images tell."""
    for _, part in board.groupby("probe", sort=False):
        lines = records(part)
        first = [str(line["model"]) for line in lines if line["rank_low"] == 1]
        at = where(lines[0])
        if len(first) == 1:
            share = Interval(*(lines[0][end] for end in ("acc", "acc_low", "acc_high")))
            told = f"{percent(share.value)} % right, {with_interval(share)}"
            yield f"{first[0]} is first of {len(lines)} {at}, beyond chance ({told})."
            continue
        more = f" and {len(first) - _NAMED} more" if len(first) > _NAMED else ""
        named = f"{', '.join(first[:_NAMED])}{more}"
        yield f"First place {at} cannot be told apart between {len(first)} models: {named}."
