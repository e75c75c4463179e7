"""What a comparison is: several models on the same images, question by question."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import NBSP
from pipelines.compare.conclusions import conclusions, where
from pipelines.compare.question import TABLES, Question
from pipelines.compare.sections import question_sections
from pipelines.report.about import About
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of, kind_of
from pipelines.report.sections import Section, Sheet
from pipelines.study.names import slug

_POINTS = ("difference", "low", "high")
Held = TypeVar("Held")


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same test images.

    Args:
        about: models in the order of the runs, the baseline first; the data they share.
        runs: of each model's name what it was read from: an MLflow run id, or a folder.
        questions: what they all answered.
        common: whether what is not alike was left out, instead of refused.
    """

    room: ClassVar[str] = "compare"
    about: About
    runs: Mapping[str, str]
    questions: Sequence[Question]
    common: bool = False

    @property
    def models(self) -> list[str]:
        """Names, the baseline first."""
        return list(self.runs)

    @property
    def title(self) -> str:
        """`lenet (2) against lenet (1) on Digits`."""
        data, names = self.about.dataset, self.models
        on = data.get("title", data["name"])
        if len(names) == 2:
            return f"{names[1]} against {names[0]} on {on}"
        return f"{len(names)} models on {on}, compared"

    def headline(self) -> dict[str, Number]:
        """Differences from the baseline under every probe at its headline severity, in points."""
        return {key: number for one in self.questions for key, number in self._numbers(one)}

    def sentences(self) -> list[str]:
        """Which is better, at what, and what cannot be told apart."""
        said = [sentence for question in self.questions for sentence in conclusions(question)]
        return [sentence.replace(" %", f"{NBSP}%") for sentence in said]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`differences` and `board` of every question."""
        tables = {
            f"{self._prefix(one)}{name}": table
            for one in self.questions
            for name, table in (("differences", one.differences), ("board", one.board))
        }
        return {name: table for name, table in tables.items() if len(table)}

    def sections(self) -> Sequence[Section]:
        """Of the page."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """Curves of all models over each other."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """Differences and ranks; what is not finite is left out."""
        metrics: list[Metric] = []
        for one in self.questions:
            for line in records(one.differences):
                stem, step = f"compare/{self._stem(one, line)}", int(line["severity"])
                points = [(name, 100 * line[name]) for name in _POINTS]
                others = [(name, line[name]) for name in ("p_holm", "fixed", "broken")]
                metrics += [(f"{stem}_{name}", float(x), step) for name, x in (*points, *others)]
            for line in records(one.board):
                stem = f"compare/{self._prefix(one)}{line['probe']}_{slug(line['model'])}"
                metrics += [(f"{stem}_{name}", float(line[name]), 0) for name in ("rank", "first")]
        return [metric for metric in metrics if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """Which runs, against which, and over how many comparisons p is corrected."""
        comparisons = sum(len(question.differences) for question in self.questions)
        return {
            "runs": ", ".join(self.runs.values()),
            "baseline": self.models[0],
            "common": self.common,
            "comparisons": comparisons,
        }

    def beside(self, other: "Comparison") -> tuple["Comparison", "Comparison", list[Section]]:
        """Both as they are: comparisons are not compared again."""
        return self, other, []

    def parts(self) -> Parts:
        """Tables of every question, and the results of those that have none."""
        rows: dict[str, pd.DataFrame] = {}
        arrays, questions = {}, []
        for one in self.questions:
            own = {name: getattr(one, name) for name in TABLES if len(getattr(one, name))}
            rows |= {f"{one.room}.{name}": table for name, table in own.items()}
            held = []
            for i, result in enumerate(one.results):
                parts, prefix = result.parts(), f"{one.room}.{i}."
                rows |= {f"{prefix}{name}": table for name, table in parts.rows.items()}
                arrays |= {f"{prefix}{name}": array for name, array in parts.arrays.items()}
                about = result.about.as_dict()
                held.append({"room": result.room, "about": about, "facts": parts.facts})
            facts = {"room": one.room, "models": [*one.models], "notes": [*one.notes]}
            questions.append({**facts, "places": one.places, "tables": [*own], "results": held})
        facts = {"runs": self.runs, "common": self.common, "questions": questions}
        return Parts(facts, rows, arrays)

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Comparison":
        """The inverse of `parts`."""
        facts = parts.facts
        questions = [_question(one, parts) for one in facts["questions"]]
        return cls(about, facts["runs"], questions, facts["common"])

    def to_frame(self) -> pd.DataFrame:
        """All differences, with intervals and corrected p."""
        tables = [one.differences.assign(question=one.room) for one in self.questions]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        classes = [str(name) for name in self.about.model["classes"]]
        own = [question_sections(one, classes) for one in self.questions]
        return [*(section for sections in own for section in sections), self._run_section]

    @property
    def _run_section(self) -> Section:
        models = self.about.models
        pairs = zip(self.runs.items(), models, strict=False)
        lines = [
            [name, run, str(model.get("source")), f"{model['parameters']:,}", str(model["digest"])]
            for (name, run), model in pairs
        ]
        columns = ["model", "run", "source", "parameters", "weights"]
        return Section("The runs", "The first is the baseline.", sheets=[Sheet(columns, lines)])

    def _prefix(self, question: Question) -> str:
        """Before names, where there are several questions."""
        return f"{question.room}_" if len(self.questions) > 1 else ""

    def _stem(self, question: Question, line: Mapping[str, Any]) -> str:
        model = f"_{slug(line['model'])}" if len(self.runs) > 2 else ""
        return f"{self._prefix(question)}{line['setting']}{model}"

    def _numbers(self, question: Question) -> Iterator[tuple[str, Number]]:
        if question.differences.empty:
            return
        for line in records(question.differences.query("headline")):
            ends = (100 * line[name] for name in _POINTS)
            sides = f"{line['fixed']:,} fixed, {line['broken']:,} broken"
            note = f"{sides}; p {line['p_holm']:.2g} (Holm)"
            title = f"{line['model']} minus {self.models[0]} {where(line)}"
            conditions = f"{line['probe']} {line['value']:g}, {line['n']} images"
            few = len(self.runs) == 2
            number = Number(title, Interval(*ends), "points", note, conditions, card=few)
            yield f"{self._stem(question, line)}_difference", number


RESULT = Comparison


def _question(facts: Mapping[str, Any], parts: Parts) -> Question:
    room = facts["room"]
    results = []
    for i, held in enumerate(facts["results"]):
        prefix = f"{room}.{i}."
        rows, arrays = _below(prefix, parts.rows), _below(prefix, parts.arrays)
        about = About(**held["about"])
        results.append(kind_of(held["room"]).from_parts(about, Parts(held["facts"], rows, arrays)))
    tables = {name: parts.rows[f"{room}.{name}"] for name in facts["tables"]}
    named = {name: facts[name] for name in ("models", "places", "notes")}
    return Question(room, **named, **tables, results=results)  # type: ignore[arg-type]


def _below(prefix: str, every: Mapping[str, Held]) -> dict[str, Held]:
    return {k.removeprefix(prefix): v for k, v in every.items() if k.startswith(prefix)}
