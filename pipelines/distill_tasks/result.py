"""What every task of a teacher with several heads keeps in its student."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Number
from callbacks.results import records
from callbacks.statistics import Interval
from callbacks.words import NBSP, percent, with_interval
from pipelines.distill_tasks.numbers import accuracy_table, difference_table
from pipelines.report.about import About
from pipelines.report.notebook import notebook_html
from pipelines.report.result import Metric, Parts
from pipelines.report.sections import Section, Sheet, change_cell, rate_cell
from pipelines.tasks.numbers import ITSELF, KEYS, image_keys

_TERMS = {
    "mean": "Over the tasks, on the images that have a label in every task; of several data sets "
    "each task on its own images.",
    "worst": "The least accurate task; of differences the task that loses most. Its interval holds "
    "whichever task that is (Bonferroni).",
    "label only": "The same student, start and budget, trained on the labels alone.",
    "single task": "A student for each task by itself, taught by that head of the teacher.",
    "Intervals": "95 %, over images and, where there are several, seeds.",
}
_CONTROLS = {
    "label only": "Against the labels alone the teacher brings",
    "single task": "Against a student for each task by itself the one for all has",
}


@dataclass(frozen=True)
class TaskDistillationResult:
    """A teacher with several heads, its students and the controls on the same test images.

    Args:
        about: models (the first student, then the teacher), data and circumstances.
        rows: one for each model, seed, image, task and disturbance; `kl` to the teacher's head.
        sizes: parameters of the models of a name; of a student for each task those of all.
        settings: recipe, seeds, controls: the run's parameters.
        failed: what went wrong with models that could not be trained, by their title.
    """

    room: ClassVar[str] = "distill_tasks"
    about: About
    rows: pd.DataFrame = field(repr=False)
    sizes: Mapping[str, int]
    settings: Mapping[str, Any]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`lenet from lenet_wide by kd on MNIST, 2 tasks`."""
        own, its = (str(m["architecture"]).rpartition(":")[2] for m in self.about.models[:2])
        data, loss = self.about.dataset, self.settings["distillation.loss"]
        where = data.get("title", data["name"])
        return f"{own} from {its} by {loss} on {where}, {len(self.tasks)} tasks"

    @property
    def tasks(self) -> list[str]:
        """Their names."""
        return list(dict.fromkeys(self.rows["task"]))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line for each disturbance, model and task; see `accuracy_table`."""
        return accuracy_table(self.rows)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """The student minus every other model; see `difference_table`."""
        return difference_table(self.rows)

    def accuracy(self, model: str, task: str) -> Interval:
        """On undisturbed images."""
        return _found(_clean(self.table), "acc", model=model, task=task)

    def change(self, against: str, task: str) -> Interval:
        """Student minus another model, on undisturbed images."""
        return _found(_clean(self.differences), "change", against=against, task=task)

    def headline(self) -> dict[str, Number]:
        """Accuracy of student and teacher by task, and the mean differences."""
        seeds = sorted(set(self.rows.loc[self.rows["model"] == "student", "seed"]))
        asked, found = f"tasks {self.tasks}, seeds {seeds}", {}
        for task in [*self.tasks, "mean", "worst"]:
            for model in ("student", "teacher"):
                number = self.accuracy(model, task)
                title = f"{model.capitalize()}: {task} of the tasks"
                title = f"{model.capitalize()}: {task}" if task in self.tasks else title
                card = model == "student" or task in ("mean", "worst")
                found[f"{model}_{task}_acc"] = Number(title, number, "%", "", asked, card)
        for against in [name for name in self.sizes if name != "student"]:
            for task in [*self.tasks, "mean", "worst"]:
                least = "the task that loses most"
                title = f"Student minus {against}: {least if task == 'worst' else task}"
                key = f"student_minus_{_slug(against)}_{task}"
                card = task == "mean"
                found[key] = Number(title, self.change(against, task), "%", "", asked, card)
        return {k: n for k, n in found.items() if math.isfinite(n.interval.value)}

    def sentences(self) -> list[str]:
        """How right the student is, a verdict against every control, and what stays open."""
        own, its = (self.accuracy(name, "mean") for name in ("student", "teacher"))
        worst = self.accuracy("student", "worst")
        said = [
            f"Over {len(self.tasks)} tasks the student gets {percent(own.value)} % right on "
            f"average ({with_interval(own)}), in its worst task {percent(worst.value)} % "
            f"({with_interval(worst)}); its teacher {percent(its.value)} % on average "
            f"({with_interval(its)}). It has {self._size('student', 'teacher')} parameters."
        ]
        for name, words in _CONTROLS.items():
            if name in self.sizes:
                said.append(f"{words} {self._verdict(name)}")
        if "single task" in self.sizes:
            size = self._size("student", "single task")
            said.append(f"One student for all tasks has {size} parameters of those of one each.")
        said.append(f"Against its teacher the student has {self._verdict('teacher')}")
        return [text.replace(" %", f"{NBSP}%") for text in said]

    def _size(self, name: str, other: str) -> str:
        share = self.sizes[name] / self.sizes[other]
        return f"{percent(share)} % ({self.sizes[name]:,} of {self.sizes[other]:,})"

    def _verdict(self, against: str) -> str:
        """The mean over the tasks, whether it is beyond chance, then task by task."""
        mean = self.change(against, "mean")
        sure = mean.low > 0 or mean.high < 0
        each = ", ".join(f"{task} {_points(self.change(against, task))}" for task in self.tasks)
        said = "beyond chance" if sure else "inside the noise"
        return f"{_points(mean)} points of accuracy on average, which is {said} (by task: {each})."

    def tables(self) -> dict[str, pd.DataFrame]:
        """`by_task` and `differences`."""
        return {"by_task": _named(self.table), "differences": _named(self.differences)}

    def metrics(self) -> list[Metric]:
        """`distillation/MODEL_TASK_acc` by seed as step, and numbers of disturbed images."""
        rows = _clean(self.rows)
        found: list[Metric] = []
        for group, part in rows.groupby(["model", "task", "seed"], sort=False):
            model, task, seed = cast("tuple[str, str, int]", group)
            key = f"distillation/{_slug(model)}_{task}_acc"
            found.append((key, float(part["correct"].mean()), int(seed)))
        for line in records(self.table.loc[self.table["setting"] != "clean"]):
            stem = f"{line['family']}/{_slug(line['model'])}_{line['task']}_{_stem(line)}"
            step = int(line["severity"])
            found += [(f"{stem}_{end}", line[end], step) for end in ("acc", "acc_low", "acc_high")]
        return [metric for metric in found if math.isfinite(metric[1])]

    def parameters(self) -> dict[str, Any]:
        """The tasks, recipe, seeds and controls."""
        return {"tasks": ", ".join(self.tasks), **self.settings}

    def sections(self) -> Sequence[Section]:
        """Accuracy of every model by task, differences, and disturbed images."""
        clean, changed = _clean(self.table), _clean(self.differences)
        places = [*self.tasks, *(name for name in ("mean", "worst") if len(self.tasks) > 1)]
        lines = [
            [name, f"{self.sizes[name]:,}", *(rate_cell(*self.accuracy(name, t)) for t in places)]
            for name in dict.fromkeys(clean["model"])
        ]
        lines += [[name, "failed", *[""] * len(places)] for name in self.failed]
        caption = "in brackets: 95 % interval over images, and over seeds where several"
        sheet = Sheet(
            ["model", "parameters", *places], lines, self.title, caption, in_terminal=True
        )
        found = [Section("Tasks", "Accuracy in % on undisturbed images.", sheets=[sheet],
                         terms=_TERMS)]  # fmt: skip
        lines = [
            [f"student - {name}", *(change_cell(self.change(name, task)) for task in places)]
            for name in dict.fromkeys(changed["against"])
        ]
        text = "Points of accuracy that the student has more (or fewer), paired by image and seed."
        heads = ["loses most" if place == "worst" else place for place in places]
        sheet = Sheet(["difference", *heads], lines, "Points of accuracy", in_terminal=True)
        found.append(Section("Differences", text, sheets=[sheet]))
        return [*found, *self._disturbed()]

    def _disturbed(self) -> list[Section]:
        lines = [
            [x["setting"], f"{x['value']:.4g}", x["attacked"], x["model"], x["task"],
             rate_cell(x["acc"], x["acc_low"], x["acc_high"]), f"{x['n']:,}"]
            for x in records(self.table.loc[self.table["setting"] != "clean"])
        ]  # fmt: skip
        if not lines:
            return []
        columns = ["disturbance", "severity", "attacked", "model", "task", "accuracy %", "images"]
        text = (
            "Of the first seed. Attacked: itself means a perturbation of each task's own, "
            "joint_sum and joint_max one against all tasks, a task's name one against it alone."
        )
        return [Section("Disturbed images", text, sheets=[Sheet(columns, lines)])]

    def figures(self) -> dict[str, Figure]:
        """None: those of each task are on its own page below `stages/`."""
        return {}

    def beside(
        self, other: "TaskDistillationResult"
    ) -> tuple["TaskDistillationResult", "TaskDistillationResult", list[Section]]:
        """Both with the rows that both have, and the students' differences, paired by image."""
        told = [n for n in image_keys(self.rows) if n in other.rows]  # old rows know no data set
        keys = [*KEYS, "model", "seed", "task", *told]
        both = self.rows[keys].drop_duplicates().merge(other.rows[keys].drop_duplicates())
        one, two = (replace(x, rows=both.merge(x.rows)) for x in (self, other))
        sides = [x.rows.loc[x.rows["model"] == "student"] for x in (one, two)]
        table = difference_table(
            pd.concat([sides[0].assign(model="first"), sides[1].assign(model="student")])
        )
        lines = [
            [x["setting"], f"{x['value']:.4g}", x["attacked"], x["task"],
             change_cell(Interval(x["change"], x["change_low"], x["change_high"]))]
            for x in records(table)
        ]  # fmt: skip
        columns = ["disturbance", "severity", "attacked", "task", "difference (points)"]
        text = "The second student minus the first, on the same images and seeds."
        return one, two, [Section("Students", text, sheets=[Sheet(columns, lines)])]

    def parts(self) -> Parts:
        """Rows, sizes and settings."""
        facts = {"sizes": self.sizes, "settings": self.settings, "failed": self.failed}
        return Parts(facts, {"tasks": self.rows})

    @classmethod
    def from_parts(cls, about: About, parts: Parts) -> "TaskDistillationResult":
        """The inverse of `parts`."""
        return cls(about, parts.rows["tasks"], **parts.facts)

    def to_frame(self) -> pd.DataFrame:
        """One line a disturbance, model and task, with intervals."""
        return self.table

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        return notebook_html(self)


RESULT = TaskDistillationResult


def _clean(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[table["setting"] == "clean"]


def _found(table: pd.DataFrame, column: str, **where: str) -> Interval:
    """The number of a line; NaN where there is none."""
    for name, value in where.items():
        table = table.loc[table[name] == value]
    ends = [column, f"{column}_low", f"{column}_high"]
    return Interval(*(table[ends].iloc[0] if len(table) else [math.nan] * 3))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """Setting and what is attacked in one column, as other tables have it."""
    names = [f"{a} {b}".strip() for a, b in zip(table["setting"], table["attacked"], strict=True)]
    return table.assign(setting=names)


def _points(change: Interval) -> str:
    return f"{100 * change.value:+.2f} [{100 * change.low:+.2f}, {100 * change.high:+.2f}]"


def _stem(line: Mapping[str, Any]) -> str:
    attacked = line["attacked"]
    return line["setting"] if attacked in ("", ITSELF) else f"{line['setting']}_on_{attacked}"


def _slug(name: str) -> str:
    return name.replace(" ", "_")
