"""What a data audit has found, as every question's result is read."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.results import records
from callbacks.words import NBSP
from pipelines.audit.lines import told
from pipelines.audit.measure import Measured
from pipelines.audit.sections import sections_of
from pipelines.audit.sentences import sentences_of
from pipelines.audit.twins import accuracy_with_twins
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section

_TABLES = ("findings", "splits", "between", "moved", "classes")
_COUNTS = ("images", "exact", "near", "other_label", "suspected")


@dataclass(frozen=True)
class DataAudit:
    """Duplicates, suspected labels, imbalance, shift and odd images of a data set.

    Args:
        about: model, where there was one, data and circumstances.
        found: every finding, and the tables of them.
        settings: the run's parameters.
    """

    room: ClassVar[str] = "audit"
    about: About
    found: Measured = field(repr=False)
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """`Data audit of MNIST`."""
        data = self.about.dataset
        return f"Data audit of {data.get('title', data['name'])}"

    @cached_property
    def accuracy(self) -> pd.DataFrame | None:
        """Of the model with and without test images that have twins; None without a model."""
        answers = self.found.answers
        if answers is None:
            return None
        return accuracy_with_twins(
            answers["correct"].to_numpy(bool), answers["twin"].to_numpy(bool)
        )

    def headline(self) -> dict[str, Number]:
        """Twins of test images, suspected labels, imbalance, shift, odd images."""
        asked = self._asked
        numbers: dict[str, Number] = {}
        for line in records(self.found.between):
            if (line["first"], line["second"]) == ("train", "test"):
                twins, apart = told(line, "twins"), told(line, "auroc")
                note = "of the test images are in training too, or nearly"
                numbers["test_twins"] = Number("Twins in training", twins, "%", note, asked)
                note = "AUROC at which training and test images are told apart; 0.5 is no shift"
                numbers["shift_auroc"] = Number("Shift", apart, "", note, asked)
        for line in records(self.found.splits):
            split = line["split"]
            note = f"of {line['judged']:,} labels, by {line['by']}"
            title = f"Suspected labels, {split}"
            suspects = told(line, "suspects")
            if not line["believed"]:
                continue
            numbers[f"{split}_suspects"] = Number(title, suspects, "%", note, asked, split != "val")
        first = records(self.found.splits)[0]
        note = f"largest class by smallest, {first['split']} images"
        numbers["imbalance"] = Number("Imbalance", told(first, "ratio"), "", note, asked)
        return numbers

    def sentences(self) -> list[str]:
        """One for each finding."""
        texts = sentences_of(self.found, self.accuracy)
        return [text.replace(" %", f"{NBSP}%") for text in texts]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table, and every finding."""
        tables = {name: getattr(self.found, name) for name in _TABLES}
        return tables if self.accuracy is None else {**tables, "accuracy": self.accuracy}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Galleries and class counts."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """Counts and shares of every split, and of every pair of splits."""
        shares = ("duplicates", "odd", "suspects", "planted_recall", "ratio", "effective")
        metrics = _metrics(self.found.splits, lambda line: line["split"], (*_COUNTS, *shares))
        shares = ("twins", "auroc", "p", "cramers_v", "label_p", "model_auroc", "model_p")
        metrics += _metrics(
            self.found.between, lambda line: f"{line['first']}_{line['second']}",
            ("exact", "near", "features", "other_label", *shares),
        )  # fmt: skip
        if self.accuracy is not None:
            metrics += _metrics(self.accuracy, lambda line: f"acc_{line['images']}", ("value",))
        return metrics

    def parameters(self) -> dict[str, Any]:
        """When two images are near-duplicates."""
        return dict(self.settings)

    def beside(self, other: "DataAudit") -> tuple["DataAudit", "DataAudit", list[Section]]:
        """Both as they are: findings of two data sets are not paired."""
        return self, other, []

    def parts(self) -> Parts:
        """Facts, tables and pictures."""
        facts = {**self.found.facts, "settings": dict(self.settings)}
        rows = {name: getattr(self.found, name) for name in _TABLES}
        if self.found.answers is not None:
            rows["answers"] = self.found.answers
        return Parts(facts, rows, dict(self.found.pictures))

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "DataAudit":
        """The inverse of `parts`."""
        facts = dict(parts.facts)
        settings = facts.pop("settings")
        rows = {name: parts.rows[name] for name in _TABLES}
        answers = parts.rows.get("answers")
        found = Measured(**rows, answers=answers, pictures=parts.arrays, facts=facts)
        return cls(about, found, settings)

    def to_frame(self) -> pd.DataFrame:
        """Every finding: a row for each image that it is of."""
        return self.found.findings

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @property
    def _asked(self) -> str:
        digest = zlib.crc32(repr(sorted(self.settings.items())).encode())
        return f"{self.about.dataset['digest']} {digest:08x}"

    @cached_property
    def _sections(self) -> list[Section]:
        own = sections_of(self.found, self.accuracy, self.about.dataset["classes"], self.title)
        return [*own, *image_sections(self.about)]


def _metrics(table: pd.DataFrame, name: Any, columns: Sequence[str]) -> list[Metric]:
    """`audit/NAME_column` of each line; what is no number is left out."""
    return [
        (f"audit/{name(line)}_{column}".replace(" ", "_"), float(line[column]), 0)
        for line in records(table)
        for column in columns
        if np.isfinite(line.get(column, np.nan))
    ]


RESULT = DataAudit
