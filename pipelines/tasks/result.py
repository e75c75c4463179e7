"""What a model with several heads does on every task and on all of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.results import records
from callbacks.statistics import Interval, paired_difference
from callbacks.words import NBSP, percent
from callbacks.worst_case import robustly_correct
from pipelines.report.about import About
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts, with_nan
from pipelines.report.sections import Section, Sheet, change_cell, rate_cell
from pipelines.tasks.numbers import ITSELF, KEYS, image_keys, task_table

_TEXT = (
    "Accuracy of every task; worst, mean, joint (all tasks right) and any (at least one right) are "
    "over the tasks. Attacked: itself means a perturbation of each task's own, joint_sum and "
    "joint_max one perturbation against all tasks, a task's name one against that task alone."
)


@dataclass(frozen=True)
class TaskEvaluation:
    """One model with several heads under any probes.

    Args:
        about: model, data and circumstances.
        rows: one for each image, task and disturbance.
        numbers: headline numbers of the tasks' own evaluations, by `TASK_NAME`.
        parameters_: what every probe did.
    """

    room: ClassVar[str] = "tasks"
    about: About
    rows: pd.DataFrame
    numbers: Mapping[str, Number]
    parameters_: Mapping[str, Any]

    @property
    def title(self) -> str:
        """`lenet on MNIST, 2 tasks`."""
        data, count = self.about.dataset, len(self.tasks)
        return f"{self.about.model['name']} on {data.get('title', data['name'])}, {count} tasks"

    @property
    def tasks(self) -> list[str]:
        """Their names."""
        return [name for name in dict.fromkeys(self.rows["task"]) if name != "joint"]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line for each disturbance and task; see `task_table`."""
        return task_table(self.rows)

    def headline(self) -> dict[str, Number]:
        """Clean and under the joint attacks over the tasks, then each task's own."""
        found = {}
        for line in records(self.table):
            attack = line["attacked"].startswith("joint_")
            if line["setting"] != "clean" and not attack:
                continue
            if line["task"] not in ("worst", "mean", "joint", "any"):
                continue
            at = f"_{line['severity']}" if attack else ""
            how = line["attacked"] if attack else "clean"
            radius = f" at {line['value']:.4g}" if attack else ""
            title = f"{line['task']} of the tasks, {how.replace('_', ' ')}{radius}"
            found[f"{line['task']}_{how}{at}_acc"] = Number(
                title, _interval(line), "%", f"over {line['over']}", f"{line['setting']}{radius}",
                card=line["task"] in ("worst", "joint"),
            )  # fmt: skip
        return {**found, **self.numbers}

    def sentences(self) -> list[str]:
        """The worst task, and what one perturbation does to all of them."""
        lines = {(x["attacked"], x["value"], x["task"]): x for x in records(self.table)}
        said = []
        for (attacked, value, task), line in lines.items():
            if line["setting"] == "clean" and task == "joint":
                said.append(f"All tasks are right on {_told(line)} of the images.")
            if attacked.startswith("joint_") and task == "any":
                how = "sum" if attacked == "joint_sum" else "largest"
                said.append(
                    f"One perturbation of {value:.4g} against the {how} of the tasks' losses "
                    f"leaves at least one task right on {_told(line)} of the images, all on "
                    f"{_told(lines[attacked, value, 'joint'])}; the worst task keeps "
                    f"{_told(lines[attacked, value, 'worst'])}."
                )
            if attacked in self.tasks and task in self.tasks and task != attacked:
                said.append(
                    f"A perturbation of {value:.4g} against {attacked} alone leaves {task} right "
                    f"on {_told(line)} of its images."
                )
        return [text.replace(" %", f"{NBSP}%") for text in said]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`by_task`."""
        table = self.table
        names = [
            " ".join(x for x in (a, b) if x)
            for a, b in zip(table["setting"], table["attacked"], strict=True)
        ]
        return {"by_task": table.assign(setting=names)}

    def metrics(self) -> list[Metric]:
        """`FAMILY/TASK_SETTING_acc` with its ends, at the severity as step."""
        found: list[Metric] = []
        for line in records(self.table):
            stem = f"{line['family']}/{line['task']}_{_stem(line)}"
            step = int(line["severity"])
            found += [(f"{stem}_{end}", line[end], step) for end in ("acc", "acc_low", "acc_high")]
        return [metric for metric in found if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """The tasks and what every probe did."""
        return {"tasks": ", ".join(self.tasks), **self.parameters_}

    def sections(self) -> Sequence[Section]:
        """Every number, by disturbance and task."""
        lines = [
            [x["setting"], f"{x['value']:.4g}" if x["value"] else "", x["attacked"], x["task"],
             rate_cell(*_interval(x)), f"{x['n']:,}"]
            for x in records(self.table)
        ]  # fmt: skip
        columns = ["disturbance", "severity", "attacked", "task", "accuracy %", "images"]
        sheet = Sheet(columns, lines, title=self.title, in_terminal=True)
        return [Section("Tasks", _TEXT, sheets=[sheet])]

    def figures(self) -> dict[str, Figure]:
        """None: those of each task are on its own page below `stages/`."""
        return {}

    def beside(
        self, other: "TaskEvaluation"
    ) -> tuple["TaskEvaluation", "TaskEvaluation", list[Section]]:
        """Both with the rows that both have, and their differences, paired by image."""
        drawn = ["draw"] if "draw" in self.rows and "draw" in other.rows else []
        told = [n for n in image_keys(self.rows) if n in other.rows]  # old rows know no data set
        keys = [*KEYS, "task", *drawn, *told]
        both = self.rows[keys].merge(other.rows[keys])
        one, two = (replace(x, rows=both.merge(x.rows)) for x in (self, other))
        right = [
            x.rows.assign(right=robustly_correct(x.rows))[[*keys, "right"]] for x in (one, two)
        ]
        lines = []
        for group, pair in right[0].merge(right[1], on=keys).groupby([*KEYS, "task"], sort=False):
            _, setting, _, value, attacked, task = map(str, cast("tuple[object, ...]", group))
            change = paired_difference(pair["right_x"], pair["right_y"])
            lines.append([setting, value, attacked, task, change_cell(change)])
        columns = ["disturbance", "severity", "attacked", "task", "difference (points)"]
        return one, two, [Section("Differences", sheets=[Sheet(columns, lines, in_terminal=True)])]

    def parts(self) -> Parts:
        """Rows, and the numbers that came with them."""
        numbers = {k: {**n._asdict(), "interval": [*n.interval]} for k, n in self.numbers.items()}
        return Parts(
            {"numbers": numbers, "parameters": dict(self.parameters_)}, {"tasks": self.rows}
        )

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "TaskEvaluation":
        """The inverse of `parts`."""
        numbers = {
            name: Number(**{**said, "interval": Interval(*with_nan(said["interval"]))})
            for name, said in parts.facts["numbers"].items()
        }
        return cls(about, parts.rows["tasks"], numbers, parts.facts["parameters"])

    def to_frame(self) -> pd.DataFrame:
        """One line a disturbance and task, with intervals."""
        return self.table

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)


RESULT = TaskEvaluation


def _interval(line: Mapping[str, Any]) -> Interval:
    return Interval(line["acc"], line["acc_low"], line["acc_high"])


def _told(line: Mapping[str, Any]) -> str:
    return f"{percent(line['acc'])} % [{percent(line['acc_low'])}, {percent(line['acc_high'])}]"


def _stem(line: Mapping[str, Any]) -> str:
    attacked = line["attacked"]
    return line["setting"] if attacked in ("", ITSELF) else f"{line['setting']}_on_{attacked}"
