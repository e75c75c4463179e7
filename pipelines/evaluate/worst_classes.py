"""The classes of which least is left, by name, family by family."""

from collections.abc import Mapping, Sequence

import pandas as pd

from callbacks.family import Summary
from callbacks.results import ProbeResult
from callbacks.statistics import Interval, mean
from pipelines.report.sections import Cell, Sheet, rate_cell

_NAMED = 3


def worst_classes(
    families: Mapping[str, Sequence[ProbeResult]],
    summaries: Mapping[str, Summary],
    titles: Mapping[str, str],
    classes: Sequence[str],
) -> Sheet:
    """The three lowest classes of every family that disturbs images.

    Of a family that tells whose answers stand for it, such as the worst of all attacks, these rows
    count; of others every image's mean over the family's probes and severities.

    Args:
        families: results by family.
        summaries: theirs.
        titles: of the families.
        classes: names.
    """
    lines: list[list[Cell | str]] = []
    groups = []
    for name, results in families.items():
        answers = summaries[name].answers or _pooled(titles[name], results)
        for title, rows in answers.items():
            groups.append(len(lines))
            lines += _lines(title, rows, classes)
    caption = (
        f"The {_NAMED} lowest of {len(classes)} classes on these images, so rather too low. Where "
        "there are several disturbances or severities, an image counts with its mean over them."
    )
    columns = ("what", "class", "images", "0 · accuracy · 100", "accuracy %")
    return Sheet(columns, lines, "Worst classes", caption, groups=frozenset(groups))


def by_class(rows: pd.DataFrame) -> dict[int, tuple[int, Interval]]:
    """How many images of each class there are, and the mean of what is right, lowest first."""
    images = rows.groupby("index", as_index=False).agg(
        label=("label", "first"), share=("correct", "mean")
    )
    found = {
        int(str(label)): (len(part), mean(part["share"].to_numpy(), bounds=(0, 1)))
        for label, part in images.groupby("label")
    }
    return dict(sorted(found.items(), key=lambda item: (item[1][1].value, -item[1][0])))


def _pooled(title: str, results: Sequence[ProbeResult]) -> dict[str, pd.DataFrame]:
    rows = [result.rows for result in results if result.is_curve]
    return {f"{title}, mean": pd.concat(rows)} if rows else {}


def _lines(title: str, rows: pd.DataFrame, classes: Sequence[str]) -> list[list[Cell | str]]:
    lines: list[list[Cell | str]] = []
    for label, (count, share) in [*by_class(rows).items()][:_NAMED]:
        drawn = rate_cell(*share, bar=True)
        named = str(classes[label])
        lines.append([title, named, f"{count:,}", drawn, rate_cell(*share)])
    return lines
