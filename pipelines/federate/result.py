"""What clients gain by each other's answers, against each alone and all data in one place."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.statistics import Interval, paired_difference
from callbacks.words import NBSP
from pipelines.evaluate.comparison import same_images
from pipelines.federate.numbers import Numbers
from pipelines.federate.rounds import ARMS, Arm
from pipelines.federate.sections import sections_of, sentences_of
from pipelines.report.about import About
from pipelines.report.images import image_sections
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section, Sheet, change_cell


@dataclass(frozen=True)
class FederationResult:
    """All clients on the same test images, round by round, in three ways.

    Args:
        about: networks, data and circumstances.
        rows: by what the clients learnt from: a row for each round, client and test image.
        names: of the clients.
        counts: private images of each class, a list for every client.
        settings: the run's parameters.
    """

    room: ClassVar[str] = "federate"
    about: About
    rows: Mapping[Arm, pd.DataFrame] = field(repr=False)
    names: Sequence[str]
    counts: Sequence[Sequence[int]]
    settings: Mapping[str, Any]

    @property
    def title(self) -> str:
        """`4 clients by feddf on MNIST, halves`."""
        data, method = self.about.dataset, self.settings["federated.method"]
        named = data.get("title", data["name"])
        split = self.settings["federated.split"]
        return f"{len(self.names)} clients by {method} on {named}, {split}"

    @cached_property
    def numbers(self) -> Numbers:
        """Of the clients after the last round."""
        return Numbers(self.rows, self.names, self.counts)

    def headline(self) -> dict[str, Number]:
        """Mean accuracies of the clients, and what they gain."""
        rows = self.rows["federated"]
        index = zlib.crc32(rows["index"].drop_duplicates().to_numpy("int64").tobytes())
        asked = f"images {index:08x}, {len(self.names)} clients, {self.counts}"
        note = f"mean of {len(self.names)} clients"
        titles = {"federated": "Federated", "alone": "Each alone", "pooled": "All in one place"}
        found = {
            f"{arm}_acc": Number(titles[arm], self.numbers.together(arm), "%", note, asked)
            for arm in ARMS
        }
        gain = self.numbers.gain("alone", "federated")
        said = "federated minus alone, same images"
        return {**found, "federated_gain": Number("Gain", gain, "%", said, asked)}

    def sentences(self) -> list[str]:
        """The verdict."""
        return [text.replace(" %", f"{NBSP}%") for text in sentences_of(self.numbers)]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`clients`, a line for each, and one for their mean."""
        return {"clients": self.numbers.table}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Accuracy by round and by client."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """Mean accuracy after every round, and each client's after the last."""
        metrics = [
            (f"distillation/{arm}_acc", self.numbers.together(arm, turn).value, turn)
            for arm in ARMS
            for turn in self.numbers.turns
        ]
        for i, _ in enumerate(self.names):
            metrics += [
                (f"distillation/client_{arm}_acc", self.numbers.accuracy(arm, i).value, i + 1)
                for arm in ARMS
            ]
        return metrics

    def parameters(self) -> dict[str, Any]:
        """Method, rounds, split."""
        return dict(self.settings)

    def beside(
        self, other: "FederationResult"
    ) -> tuple["FederationResult", "FederationResult", list[Section]]:
        """Both, and the paired differences of their clients' means."""
        title = f"{other.title} against {self.title}"
        if not same_images(self.about.dataset, other.about.dataset):
            note = "They were measured on other images, so no test can pair them."
            return self, other, [Section(title, notes=[note])]
        lines = [[arm, change_cell(self._change(other, arm))] for arm in ARMS]
        text = "Points of accuracy that the second's clients have more on average, same images."
        return self, other, [Section(title, text, sheets=[Sheet(("learnt", "points"), lines)])]

    def _change(self, other: "FederationResult", arm: Arm) -> Interval:
        first, second = (one.numbers.correct(arm).mean(0) for one in (self, other))
        return paired_difference(first, second)

    def parts(self) -> Parts:
        """Facts, and the rows of each way."""
        facts = {"names": [*self.names], "counts": self.counts, "settings": self.settings}
        return Parts(facts, {str(arm): rows for arm, rows in self.rows.items()})

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "FederationResult":
        """The inverse of `parts`."""
        facts = parts.facts
        rows: dict[Arm, pd.DataFrame] = {arm: parts.rows[arm] for arm in ARMS}
        return cls(about, rows, facts["names"], facts["counts"], facts["settings"])

    def to_frame(self) -> pd.DataFrame:
        """A line for each client, with intervals."""
        return self.numbers.table

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        classes = [str(name) for name in self.about.models[0]["classes"]]
        own = sections_of(self.numbers, classes, self.title)
        return [*own, *image_sections(self.about)]


RESULT = FederationResult
