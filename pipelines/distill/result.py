"""What a student keeps of its teacher, against what is had without distillation."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from callbacks.fidelity import copied_errors, kept_accuracy_over
from callbacks.reductions import compare, worst_case
from callbacks.statistics import (
    NOTHING,
    Interval,
    crossed_mean,
    ece_interval,
    mcnemar,
    mean,
    paired_difference,
    rate,
)
from pipelines.distill.member import Member
from pipelines.evaluate.result import Evaluation, Metric

FLOOR = 0.1
"""A teacher with less robust accuracy has too little for a share of it to mean anything."""


@dataclass(frozen=True)
class Audit:
    """A teacher, its students and the controls on the same test images.

    Args:
        members: the teacher first; students and controls of one name differ by their seed.
        data: manifest of the data.
        recipe: what was learnt, in words.
        command: as typed.
        created: ISO time.
        notes: what a reader must know.
    """

    members: Sequence[Member]
    data: dict[str, Any]
    recipe: str
    command: str
    created: str
    notes: list[str] = field(default_factory=list)

    @property
    def teacher(self) -> Member:
        """The one all are compared with."""
        return self.members[0]

    def named(self, name: str) -> list[Member]:
        """The members of a name, one a seed."""
        return [one for one in self.members if one.name == name]

    @property
    def names(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(one.name for one in self.members))

    @cached_property
    def radii(self) -> dict[str, int]:
        """By threat model the step that robust accuracy is compared at, chosen by the teacher.

        The usual radius leaves many a teacher nothing that a student could keep; so it is the
        largest measured one at which it has at least half of its accuracy, else the smallest.
        """
        if self.teacher.evaluation is None:
            return {}
        found, half = {}, self.teacher.rows["correct"].mean() / 2
        for attacks in self.teacher.evaluation.attacks:
            steps = [s for s in attacks.values if attacks.worst(s)["correct"].mean() >= half]
            found[attacks.norm] = max(steps, default=min(attacks.values))
        return found

    @property
    def ball(self) -> str:
        """The threat models of the robust accuracy, in words."""
        if self.teacher.evaluation is None:
            return ""
        return ", ".join(
            f"{one.sign} {one.values[self.radii[one.norm]]:.3g}"
            for one in self.teacher.evaluation.attacks
        )

    def robust_rows(self, member: Member) -> pd.DataFrame | None:
        """The point-wise worst rows over all attacks at `radii`; None where nothing attacked."""
        if member.evaluation is None or not self.radii:
            return None
        return worst_case([one.worst(self.radii[one.norm]) for one in member.evaluation.attacks])

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a name; see `_line`."""
        return pd.DataFrame([self._line(name) for name in self.names])

    def number(self, name: str, column: str) -> Interval:
        """A number of the table with its interval."""
        line = self.table.loc[self.table["model"] == name].iloc[0]
        return Interval(*(float(line[column + end]) for end in ("", "_low", "_high")))

    @cached_property
    def paired(self) -> pd.DataFrame:
        """Student minus teacher for every probe and setting, paired by image; empty without."""
        students = [one for one in self.members if one.kind == "student" and one.evaluation]
        if not students or self.teacher.evaluation is None:
            return pd.DataFrame()
        return pd.concat(list(_compared(self.teacher.evaluation, students[0].evaluation)))

    def gain(self, over: str) -> tuple[Interval, float] | None:
        """Accuracy of the students minus a control's on the same images, and McNemar's p.

        Of several seeds the interval covers seeds and images, and p is NaN.
        """
        students, others = self.named("student"), self.named(over)
        if not students or not others:
            return None
        pairs = list(zip(students, others, strict=False))
        differences = np.stack([
            a.rows["correct"].to_numpy() - b.rows["correct"].to_numpy(float) for a, b in pairs
        ])  # fmt: skip
        if len(pairs) > 1:
            return crossed_mean(differences), float("nan")
        own, other = pairs[0][0].rows["correct"], pairs[0][1].rows["correct"]
        return paired_difference(other, own), mcnemar(own, other)

    def metrics(self) -> list[Metric]:
        """For MLflow: the single numbers, and one point a seed."""
        found: list[Metric] = []
        for name in self.names:
            slug = name.replace(" ", "_")
            for column in ("acc", "kept", "robust", "kept_robust", "agreement", "kl", "flips"):
                ends = zip(("", "_low", "_high"), self.number(name, column), strict=True)
                found += [(f"summary/{slug}_{column}{end}", v, 0) for end, v in ends]
            found.append((f"summary/{slug}_bytes", float(self.named(name)[0].footprint.bytes), 0))
            for one in self.named(name):
                accuracy = float(one.rows["correct"].mean())
                found.append((f"distillation/{slug}_acc", accuracy, one.seed))
        return [metric for metric in found if np.isfinite(metric[1])]

    def save(self, folder: Path) -> Path:
        """Writes `rows/<member>.parquet`, `tables/*.json` and `audit.json`."""
        for name in ("rows", "tables"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for one in self.members:
            file = folder / "rows" / f"{one.name.replace(' ', '_')}-s{one.seed}.parquet"
            one.rows.to_parquet(file, index=False)
        for name, table in (("members", self.table), ("paired", self.paired)):
            table.to_json(folder / "tables" / f"{name}.json", orient="split", index=False)
        facts = {
            "data": self.data, "recipe": self.recipe, "command": self.command,
            "created": self.created, "notes": self.notes, "robust_at": self.ball,
            "footprints": {name: asdict(self.named(name)[0].footprint) for name in self.names},
        }  # fmt: skip
        (folder / "audit.json").write_text(json.dumps(facts, indent=1, default=str))
        return folder

    def _line(self, name: str) -> dict[str, Any]:
        """What is known of the members of a name; over seeds where there are several."""
        members, teacher = self.named(name), self.teacher.rows
        rows, first = [one.rows for one in members], members[0]
        robust, its = self.robust_rows(first), self.robust_rows(self.teacher)
        kept_robust = NOTHING
        if robust is not None and its is not None:
            kept_robust = kept_accuracy_over([robust], its)
        numbers = {
            "acc": _over(rows, lambda one: one["correct"]),
            "kept": kept_accuracy_over(rows, teacher),
            "ece": ece_interval(rows[0]["confidence"], rows[0]["correct"]),
            "robust": _over([robust], lambda one: one["correct"])
            if robust is not None
            else NOTHING,
            "kept_robust": kept_robust,
            "agreement": _over(rows, lambda one: one["prediction"] == teacher["prediction"]),
            "kl": _over(rows, lambda one: one["kl"]),
            "flips": _over(rows, lambda one: (one["correct"] == 0) & (teacher["correct"] == 1)),
            "copied": copied_errors(rows[0], teacher),
        }
        line: dict[str, Any] = {"model": name, "kind": first.kind, "seeds": len(members)}
        line |= asdict(first.footprint)
        for column, found in numbers.items():
            line |= found.columns(column)
        return line


def _over(tables: Sequence[pd.DataFrame], column: Callable[[pd.DataFrame], pd.Series]) -> Interval:
    """Mean of a column over images, and over seeds where there are several."""
    values = [column(one).to_numpy(float) for one in tables]
    if len(values) > 1:
        return crossed_mean(np.stack(values))
    if np.isin(values[0], (0, 1)).all():
        return rate(int(values[0].sum()), len(values[0]))
    return mean(values[0])


def _compared(teacher: Evaluation, student: Evaluation | None) -> Iterator[pd.DataFrame]:
    assert student is not None
    for result in teacher.results:
        matching = student.result(result.name)
        if matching is not None and len(result.rows):
            table = compare(result.rows, matching.rows)
            yield table.assign(title=result.title, unit=result.unit, family=result.family)
