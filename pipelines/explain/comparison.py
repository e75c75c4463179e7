"""Two explanations side by side: the numbers that both were asked for."""

from collections.abc import Iterator, Mapping, Sequence

from callbacks.monitoring.outliers import score_title
from callbacks.results import records
from pipelines.explain.cell import Stage
from pipelines.explain.methods import method_title
from pipelines.report.sections import Cell, Section, Sheet, number_cell

Side = tuple[str, Mapping[str, Stage]]
"""Title and stages of one of the two."""


def comparison(one: Side, other: Side, notes: Sequence[str]) -> Section:
    """Methods, changes and outlier scores of both in one table.

    Args:
        one: the first.
        other: the second, with the same stages.
        notes: what was left out.
    """
    cells = [dict(_numbers(stages)) for _, stages in (one, other)]
    names = list(dict.fromkeys([*cells[0], *cells[1]]))
    lines = [[*name, *(side.get(name, Cell("")) for side in cells)] for name in names]
    return Section(
        "Explained and watched, side by side",
        "Each number with its own 95 % interval; they were measured apart, so that no test pairs "
        "them.",
        sheets=[Sheet(("what", "of", one[0], other[0]), lines)] if lines else (),
        notes=notes,
    )


def _numbers(stages: Mapping[str, Stage]) -> Iterator[tuple[tuple[str, str], Cell]]:
    """Yields (what, of) and the number."""
    tables = {key: table for stage in stages.values() for key, table in stage.tables.items()}
    for table, title, column in (
        ("methods", "relevance gain", "srg"),
        ("changes", "agreement with before", "agreement"),
        ("outliers", "outlier AUROC", "auroc"),
    ):
        for line in records(tables[table]) if table in tables else ():
            names = {
                "methods": lambda line: method_title(line["method"]),
                "changes": lambda line: line["version"],
                "outliers": lambda line: f"{score_title(line['score'])}, {line['outliers']}",
            }
            ends = (line[f"{column}_low"], line[f"{column}_high"])
            yield (title, names[table](line)), number_cell(line[column], *ends)
