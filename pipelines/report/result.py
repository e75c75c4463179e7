"""The one shape of a result; MLflow, terminal, page and `assay report` know nothing else of it."""

import importlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from datamodules.errors import UserError
from pipelines.report.about import About
from pipelines.report.sections import Section

Metric = tuple[str, float, int]
"""Key with exactly one slash, value, step."""


class Result(Protocol):
    """What every question returns.

    What `parts` gives is written by `save_result` and given back to `from_parts` by `load_result`.
    """

    room: ClassVar[str]
    """Folder of the question below `pipelines/`."""

    @property
    def about(self) -> About:
        """Models, data and circumstances."""
        ...

    @property
    def title(self) -> str:
        """Over the page and the terminal's tables."""
        ...

    def headline(self) -> dict[str, Number]:
        """The numbers that come first, by the name of their `summary/` metric."""
        ...

    def sentences(self) -> list[str]:
        """What the numbers mean, in words that need no background."""
        ...

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every number, by the name of its table."""
        ...

    def sections(self) -> Sequence[Section]:
        """Of the page, in order."""
        ...

    def figures(self) -> dict[str, Figure]:
        """All figures by name."""
        ...

    def metrics(self) -> list[Metric]:
        """For MLflow, besides those of the headline."""
        ...

    def parameters(self) -> dict[str, Any]:
        """The few by which runs are compared, besides model and data."""
        ...

    def beside(self, other: Any) -> tuple[Any, Any, list[Section]]:
        """This result and another of its kind, each restricted to what both were asked.

        Returns:
            The two, and sections that compare them.
        """
        ...

    def parts(self) -> "Parts":
        """What to write."""
        ...

    @classmethod
    def from_parts(cls, about: About, parts: "Parts") -> "Result":
        """The inverse of `parts`."""
        ...


class Parts:
    """A result taken apart for the disk.

    Args:
        facts: JSON-able.
        rows: tables that the numbers are reductions of, by name.
        arrays: pictures and curves, by name.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        rows: Mapping[str, pd.DataFrame] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.facts, self.rows, self.arrays = dict(facts), dict(rows or {}), dict(arrays or {})


def figures_of(sections: Sequence[Section]) -> dict[str, Figure]:
    """The figures and pictures of all sections by name."""
    return {
        name: figure
        for section in sections
        for name, figure in {**section.figures, **section.pictures}.items()
    }


def summary_metrics(result: Result) -> list[Metric]:
    """The headline as `summary/` metrics, each with its ends; what is not finite is left out."""
    metrics: list[Metric] = []
    for name, number in result.headline().items():
        value, low, high = number.interval
        metrics += [(f"summary/{name}", value, 0)]
        metrics += [(f"summary/{name}_low", low, 0), (f"summary/{name}_high", high, 0)]
    return [metric for metric in metrics if math.isfinite(metric[1])]


def save_result(result: Result, folder: Path) -> Path:
    """Writes rows, arrays, tables and `result.json` and returns the folder.

    The JSON file comes last and at once, so that a folder that has one is complete.
    """
    parts = result.parts()
    save_parts(parts, folder)
    (folder / "tables").mkdir(exist_ok=True)
    for name, table in result.tables().items():  # in the form of MLflow's `log_table`
        table.to_json(folder / "tables" / f"{name}.json", orient="split", index=False)
    written = {
        "room": result.room,
        "title": result.title,
        "about": result.about.as_dict(),
        "headline": {name: _number(number) for name, number in result.headline().items()},
        "sentences": result.sentences(),
        "rows": list(parts.rows),
        "facts": parts.facts,
    }
    unfinished = folder / "result.json.part"
    unfinished.write_text(json.dumps(strict_json(written), indent=1, default=str))
    unfinished.replace(folder / "result.json")
    return folder


def save_parts(parts: Parts, folder: Path) -> None:
    """Writes rows and arrays; the facts belong into a JSON file of whoever calls.

    Every file appears whole: one that grows, question by question, can be read at any time.
    """
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    for name, rows in parts.rows.items():
        unfinished = folder / "rows" / f"{name}.parquet.part"
        rows.to_parquet(unfinished, index=False)
        unfinished.replace(folder / "rows" / f"{name}.parquet")
    if parts.arrays:
        unfinished = folder / "arrays.part.npz"  # numpy would add the ending
        np.savez_compressed(unfinished, **parts.arrays)  # type: ignore[arg-type]
        unfinished.replace(folder / "arrays.npz")


def load_parts(facts: Mapping[str, Any], names: Sequence[str], folder: Path) -> Parts:
    """Reads what `save_parts` wrote.

    Args:
        facts: from the JSON file.
        names: of the rows.
        folder: of both.
    """
    rows = {name: pd.read_parquet(folder / "rows" / f"{name}.parquet") for name in names}
    file = folder / "arrays.npz"
    return Parts(facts, rows, dict(np.load(file)) if file.is_file() else {})


def load_result(folder: Path) -> Result:
    """Reads what `save_result` wrote, whatever the question was.

    Raises:
        UserError: the folder holds no result.
    """
    try:
        read = json.loads((folder / "result.json").read_text())
        parts = load_parts(read["facts"], read["rows"], folder)
        return kind_of(read["room"]).from_parts(About(**read["about"]), parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise UserError(
            f"Expected a result in {str(folder)!r}, but: {type(error).__name__} {error}."
        ) from error


def strict_json(value: Any) -> Any:
    """What is not finite as None: JSON has no word for it, and strict readers refuse Python's."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {key: strict_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_nan(value: Any) -> Any:
    """The inverse of `strict_json` for facts in which every None was a number."""
    if isinstance(value, Mapping):
        return {key: with_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [with_nan(part) for part in value]
    return math.nan if value is None else value


def _number(number: Number) -> dict[str, Any]:
    return {**number._asdict(), "interval": number.interval._asdict()}


def kind_of(room: str) -> Any:
    """The class of a room's results; only a plain name of a room is looked for.

    Raises:
        ValueError: no room can be called so.
    """
    if not re.fullmatch(r"[a-z_]+", room):
        raise ValueError(f"no question is called {room!r}")
    return importlib.import_module(f"pipelines.{room}.result").RESULT
