"""What an explanation is: the pass over the test data, and what every stage has measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.monitoring import failure_table
from callbacks.results import records
from pipelines.evaluate.result import Evaluation
from pipelines.explain.advice import Advice, advices
from pipelines.explain.cell import Stage
from pipelines.explain.outlier_sets import metric_key
from pipelines.explain.plan import Plan
from pipelines.explain.sections import advice_section, stage_sections
from pipelines.explain.summary import headline, sentences
from pipelines.report.about import About
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, figures_of
from pipelines.report.sections import Section

_METRICS = (
    ("failure", "{setting}_{number}", ("error_auroc", "aurc", "excess_aurc", "ece"), "severity"),
    ("outliers", "{score}_{outliers}_{number}", ("auroc", "fpr95_in", "fpr95_out"), None),
    ("drift", "drift_{shift}_{number}", ("score",), "end"),
    ("methods", "{number}_{method}", ("srg",), None),
    ("changes", "{number}_{version}", ("agreement",), None),
)
"""Table, key, its numbers, and the column that is the step."""


@dataclass(frozen=True)
class Explanation:
    """One model explained and watched on one data set.

    Args:
        about: models, data and circumstances; the first model is the one that is explained.
        evaluation: rows of the pass over the test data.
        stages: by name; none of an interrupted pass.
        plan: what was asked for.
    """

    room: ClassVar[str] = "explain"
    about: About
    evaluation: Evaluation
    stages: Mapping[str, Stage]
    plan: Plan

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

    @cached_property
    def advice(self) -> list[Advice]:
        """What the findings advise; of an interrupted pass nothing."""
        classes = self.about.models[0]["classes"]
        return advices(self.stages, self.evaluation.results, classes) if self.stages else []

    def headline(self) -> dict[str, Number]:
        """Score, failures, outliers and alarms, then the numbers of the pass."""
        own = headline(self.stages, self.failure, self.plan)
        return own | {k: v for k, v in self.evaluation.headline().items() if k not in own}

    def sentences(self) -> list[str]:
        """What the numbers mean."""
        own = sentences(self.stages, self.failure)
        return [*self.evaluation.sentences(), *own, *map(str, self.advice)]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Those of the pass, `failure`, and those of every stage."""
        own = [stage.tables.items() for stage in self.stages.values()]
        return {
            **self.evaluation.tables(),
            "failure": self.failure,
            "advice": pd.DataFrame(self.advice, columns=Advice._fields),
            **{name: table for tables in own for name, table in tables},
        }

    def sections(self) -> Sequence[Section]:
        """Of the page: every stage, then the pass."""
        return self._sections

    def figures(self) -> dict[str, Figure]:
        """The figures and pictures of all sections."""
        return figures_of(self._sections)

    def metrics(self) -> list[Metric]:
        """The curves of the pass and the numbers of every stage; what is not finite is left out."""
        metrics, tables = self.evaluation.metrics(), self.tables()
        for table, key, numbers, step in _METRICS:
            for line in records(tables[table]) if table in tables else ():
                # The names of probes have been checked; those of kinds are for readers.
                names = {k: v if k == "setting" else metric_key(str(v)) for k, v in line.items()}
                metrics += [
                    (
                        "monitoring/" + key.format(**names, number=number),
                        float(line[number]),
                        int(line[step]) if step else 0,
                    )
                    for number in numbers
                ]
        return [metric for metric in metrics if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """What was asked for, and how every stage has measured."""
        method = {k: v for stage in self.stages.values() for k, v in stage.method.items()}
        asked = {name: value for name, value in asdict(self.plan).items() if value != ""}
        return {**self.evaluation.parameters(), **asked, **method}

    def beside(self, other: "Explanation") -> tuple["Explanation", "Explanation", list[Section]]:
        """Both with the probes and the stages that both were asked alike."""
        mine, its, sections = self.evaluation.beside(other.evaluation)
        alike = [
            name
            for name in self.stages
            if name in other.stages and self.plan.asked(name) == other.plan.asked(name)
        ]
        left = dict.fromkeys(name for name in [*self.stages, *other.stages] if name not in alike)
        notes = [f"The stage {name!r} is left out: the two were not asked alike." for name in left]
        first, second = (
            replace(of, evaluation=evaluation, stages={name: of.stages[name] for name in alike})
            for of, evaluation in ((self, mine), (other, its))
        )
        told = [Section("Explained and watched, side by side", notes=notes)] if notes else []
        return first, second, [*told, *sections]

    def parts(self) -> Parts:
        """Those of the pass, and those of every stage under its name."""
        parts = self.evaluation.parts()
        stages = {name: stage.parts() for name, stage in self.stages.items()}
        parts.facts = {
            "evaluation": parts.facts,
            "stages": {name: stage.facts for name, stage in stages.items()},
            "plan": asdict(self.plan),
            "advice": [one._asdict() for one in self.advice],
        }
        for name, stage in stages.items():
            parts.rows |= {f"{name}-{key}": table for key, table in stage.rows.items()}
            parts.arrays |= {f"{name}/{key}": array for key, array in stage.arrays.items()}
        return parts

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "Explanation":
        """The inverse of `parts`."""
        stages = {}
        for name, facts in parts.facts["stages"].items():
            tables = {key: parts.rows[f"{name}-{key}"] for key in facts["tables"]}
            arrays = {
                key.partition("/")[2]: array
                for key, array in parts.arrays.items()
                if key.startswith(f"{name}/")
            }
            stages[name] = Stage.from_parts(Parts(facts, tables, arrays))
        evaluation = Parts(parts.facts["evaluation"], parts.rows, parts.arrays)
        plan = Plan(**parts.facts["plan"])
        return cls(about, Evaluation.from_parts(about, evaluation), stages, plan)

    def to_frame(self) -> pd.DataFrame:
        """The parts of the score, with intervals."""
        return self.tables().get("parts", pd.DataFrame())

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)

    @cached_property
    def _sections(self) -> list[Section]:
        if not self.stages:
            return [*self.evaluation.sections()]
        own = stage_sections(self.stages, self.evaluation, self.failure)
        return [*own, advice_section(self.stages, self.advice), *self.evaluation.sections()]


RESULT = Explanation
