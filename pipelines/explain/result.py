"""What an explanation is: the pass over the test data, and what every stage has measured."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.monitoring import failure_table
from callbacks.results import records
from lightning_modules import Classifier
from pipelines.evaluate.result import Evaluation
from pipelines.explain.cell import Stage
from pipelines.explain.comparison import comparison
from pipelines.explain.plan import Plan
from pipelines.explain.sections import stage_sections
from pipelines.explain.summary import headline, sentences
from pipelines.report.about import About, model_facts
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section
from pipelines.study import Study

_OUTLIER_NUMBERS = ("auroc", "fpr95_in", "fpr95_out")
_FAILURE_NUMBERS = ("error_auroc", "aurc", "excess_aurc", "ece")


@dataclass(frozen=True)
class Explanation:
    """One model explained and watched on one data set.

    Args:
        about: model, data and circumstances.
        evaluation: rows of the pass over the test data.
        stages: by name; none of an interrupted pass.
        plan: what was asked for.
        compared: sources and weights of the models that were compared, by name.
    """

    room: ClassVar[str] = "explain"
    about: About
    evaluation: Evaluation
    stages: Mapping[str, Stage]
    plan: Plan
    compared: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, study: Study, evaluation: Evaluation, stages: Mapping[str, Stage], plan: Plan,
        compare: Mapping[str, Classifier],
    ) -> "Explanation":  # fmt: skip
        """Puts the pass and the stages of a study into one result."""
        about = study.about(study.models[0], interrupted=evaluation.about.interrupted)
        notes = [note for stage in stages.values() for note in stage.notes]
        facts = {name: model_facts(model) for name, model in compare.items()}
        compared = {name: f"{fact['source']} {fact['digest']}" for name, fact in facts.items()}
        about = about.with_notes([*evaluation.about.notes, *notes])
        return cls(about, evaluation, stages, plan, compared)

    @property
    def title(self) -> str:
        """`lenet on MNIST, explained and watched`."""
        return f"{self.evaluation.title}, explained and watched"

    @cached_property
    def failure(self) -> pd.DataFrame:
        """How well confidence tells errors, one line a setting of every probe."""
        results = [result for result in self.evaluation.results if len(result.rows)]
        tables = [failure_table(result.rows) for result in results]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def headline(self) -> dict[str, Number]:
        """Score, failures, outliers and alarms, then the numbers of the pass."""
        own = headline(self.stages, self.failure, self.plan) if self.stages else {}
        return own | {k: v for k, v in self.evaluation.headline().items() if k not in own}

    def sentences(self) -> list[str]:
        """What the numbers mean."""
        own = sentences(self.stages, self.failure) if self.stages else []
        return [*self.evaluation.sentences(), *own]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Those of the pass, `failure`, and those of every stage."""
        own = {
            name: table for stage in self.stages.values() for name, table in stage.tables.items()
        }
        return {**self.evaluation.tables(), "failure": self.failure, **own}

    def sections(self) -> Sequence[Section]:
        """Of the page: every stage, then the pass."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """The figures and pictures of all sections."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """The curves of the pass and the numbers of every stage; what is not finite is left out."""
        metrics = [*self.evaluation.metrics(), *self._failure_metrics()]
        for line in self._lines("outliers", "outliers"):
            name = f"{line['score']}_{_slug(line['outliers'])}"
            metrics += [(f"monitoring/{name}_{k}", float(line[k]), 0) for k in _OUTLIER_NUMBERS]
        for line in self._lines("monitor", "drift"):
            key = f"monitoring/drift_{_slug(line['shift'])}_score"
            metrics.append((key, float(line["score"]), int(line["end"])))
        for line in self._lines("methods", "methods"):
            metrics.append((f"monitoring/srg_{line['method']}", float(line["srg"]), 0))
        for line in self._lines("changes", "changes"):
            key = f"monitoring/agreement_{_slug(line['version'])}"
            metrics.append((key, float(line["agreement"]), 0))
        return [metric for metric in metrics if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """What was asked for, and how every stage has measured."""
        method = {k: v for stage in self.stages.values() for k, v in stage.method.items()}
        compared = {f"compare.{name}": source for name, source in self.compared.items()}
        return {**self.evaluation.parameters(), **asdict(self.plan), **compared, **method}

    def beside(self, other: "Explanation") -> tuple["Explanation", "Explanation", list[Section]]:
        """Both with the probes and the stages that both were asked alike, and their differences."""
        mine, its, sections = self.evaluation.beside(other.evaluation)
        alike = [
            name
            for name in self.stages
            if name in other.stages and self.plan.asked(name) == other.plan.asked(name)
        ]
        left = dict.fromkeys(name for name in [*self.stages, *other.stages] if name not in alike)
        notes = [f"The stage {name!r} is left out: the two were not asked alike." for name in left]
        kept = [
            replace(one, evaluation=evaluation, stages={name: one.stages[name] for name in alike})
            for one, evaluation in ((self, mine), (other, its))
        ]
        own = comparison((self.title, kept[0].stages), (other.title, kept[1].stages), notes)
        return kept[0], kept[1], [own, *sections]

    def parts(self) -> Parts:
        """Those of the pass, and those of every stage under its name."""
        whole = self.evaluation.parts()
        stages = {name: stage.parts() for name, stage in self.stages.items()}
        facts = {
            "evaluation": whole.facts,
            "stages": {name: parts.facts for name, parts in stages.items()},
            "plan": asdict(self.plan),
            "compared": dict(self.compared),
        }
        for name, parts in stages.items():
            whole.rows |= {f"{name}-{key}": table for key, table in parts.rows.items()}
            whole.arrays |= {f"{name}/{key}": array for key, array in parts.arrays.items()}
        return Parts(facts, whole.rows, whole.arrays)

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Explanation":
        """The inverse of `parts`."""
        stages = {}
        for name, facts in parts.facts["stages"].items():
            tables = {key: parts.rows[f"{name}-{key}"] for key in facts["tables"]}
            stages[name] = Stage.from_parts(Parts(facts, tables, _below(parts.arrays, name)))
        evaluation = Parts(parts.facts["evaluation"], parts.rows, parts.arrays)
        plan, compared = Plan(**parts.facts["plan"]), parts.facts["compared"]
        return cls(about, Evaluation.from_parts(about, evaluation), stages, plan, compared)

    def to_frame(self) -> pd.DataFrame:
        """The parts of the score, with intervals."""
        return self.tables().get("parts", pd.DataFrame())

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        own = stage_sections(self.stages, self.evaluation, self.failure) if self.stages else []
        return [*own, *self.evaluation.sections()]

    def _failure_metrics(self) -> list[Metric]:
        return [
            (f"monitoring/{line['setting']}_{name}", float(line[name]), int(line["severity"]))
            for line in records(self.failure)
            for name in _FAILURE_NUMBERS
        ]

    def _lines(self, stage: str, table: str) -> list[dict[str, Any]]:
        """The lines of a table, none where the stage is missing."""
        return records(self.stages[stage].tables[table]) if stage in self.stages else []


RESULT = Explanation


def _below(arrays: Mapping[str, Any], stage: str) -> dict[str, Any]:
    prefix = f"{stage}/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
