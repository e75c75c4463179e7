"""What a transfer is: models, data sets, every cell of theirs, and what it comes to."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.transfer import NUMBERS
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of, with_nan
from pipelines.report.sections import Section
from pipelines.transfer.cell import Outcome, Transfer
from pipelines.transfer.comparison import common, comparison
from pipelines.transfer.grid import Grid, PairFacts
from pipelines.transfer.sections import sections_of
from pipelines.transfer.summary import headline, sentences

_GIVEN = "given_"


@dataclass(frozen=True)
class Matrix:
    """Models moved to data sets.

    Args:
        about: models, data and circumstances.
        grid: every cell, and the tables of them.
        recipe: what the cells share, flat.
    """

    room: ClassVar[str] = "transfer"
    about: About
    grid: Grid
    recipe: Mapping[str, Any]

    @property
    def title(self) -> str:
        """`lenet moved to Digits`."""
        return self.grid.title

    def headline(self) -> dict[str, Number]:
        """Mean, worst case and spread of every mode, and what was forgotten most."""
        return headline(self.grid)

    def sentences(self) -> list[str]:
        """What to do with the models."""
        return sentences(self.grid)

    def tables(self) -> dict[str, pd.DataFrame]:
        """`cells comparison by_class variability predicted agreement ranking recommended`."""
        return self.grid.tables()

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Accuracy, learning curves, and drift by layer, of each data set."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """Curves over labelled images, and scores; of several models the accuracy of each."""
        several = len(self.grid.models) > 1
        metrics: list[Metric] = []
        for line in self.grid.lines("comparison"):
            model = f"{line['model']}_" if several else ""
            for name in ("acc",) if several else NUMBERS:
                for end in ("", "_low", "_high"):
                    key = f"transfer/{model}{line['data']}_{line['mode']}_{name}{end}"
                    metrics.append((key, float(line[f"{name}{end}"]), int(line["samples"])))
        for pair in self.grid.pairs:
            model = f"{pair.model}_" if several else ""
            scores = pair.scores.items()
            metrics += [
                (f"predicted/{model}{pair.data}_{name}", value, 0) for name, value in scores
            ]
        return [metric for metric in metrics if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """Cells, and the recipe."""
        transfers = [outcome.transfer for outcome in self.grid.outcomes]
        return {
            "modes": " ".join(dict.fromkeys(item.mode for item in transfers)),
            "fractions": " ".join(self.grid.fractions),
            "seeds": " ".join(dict.fromkeys(str(item.seed) for item in transfers)),
            "cells": len(transfers),
            "cells.failed": len(self.grid.failed),
            **self.recipe,
        }

    def beside(self, other: "Matrix") -> tuple["Matrix", "Matrix", list[Section]]:
        """Both with the cells and images that both have, and their paired differences."""
        first, second, notes = common(self.grid, other.grid)
        sections = comparison(first, second, notes)
        return replace(self, grid=first), replace(other, grid=second), sections

    def parts(self) -> Parts:
        """Facts of every cell, the rows of all in one table, and tables that were given."""
        grid = self.grid
        rows = [item.rows.assign(cell=i) for i, item in enumerate(grid.outcomes) if len(item.rows)]
        facts = {
            "outcomes": [
                {**item.facts(), "transfer": list(item.transfer)} for item in grid.outcomes
            ],
            "pairs": [list(pair) for pair in grid.pairs],
            **{name: getattr(grid, name) for name in ("classes", "images", "asked", "wanted")},
            "given": list(grid.given),
            "recipe": self.recipe,
        }
        given = {f"{_GIVEN}{name}": table for name, table in grid.given.items()}
        return Parts(facts, {"test": pd.concat(rows or [pd.DataFrame({"cell": []})]), **given})

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Matrix":
        """The inverse of `parts`."""
        facts, every = parts.facts, parts.rows["test"]
        outcomes = []
        for i, known in enumerate(with_nan(facts["outcomes"])):
            rows = every.loc[every["cell"] == i].drop(columns="cell").reset_index(drop=True)
            outcomes.append(Outcome(Transfer(*known.pop("transfer")), rows=rows, **known))
        pairs = [PairFacts(*pair) for pair in with_nan(facts["pairs"])]
        given = {name: parts.rows[f"{_GIVEN}{name}"] for name in facts["given"]}
        grid = Grid(
            outcomes,
            pairs,
            facts["classes"],
            facts["images"],
            facts["asked"],
            given,
            facts.get("wanted", 0.95),
        )  # not in those of before
        return cls(about, grid, facts["recipe"])

    def to_frame(self) -> pd.DataFrame:
        """Every number before and after, with intervals."""
        return self.grid.comparison

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        return [*sections_of(self.grid), *image_sections(self.about)]


RESULT = Matrix
