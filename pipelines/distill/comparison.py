"""A teacher, its students and the controls on the same test images, and their numbers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from callbacks import adversarial
from callbacks.adversarial import AttackSet, attack_sets
from callbacks.fidelity import copied_errors, kept_accuracy_over
from callbacks.reductions import worst_case
from callbacks.statistics import (
    NOTHING,
    Interval,
    crossed_difference,
    ece_interval,
    mcnemar,
    paired_difference,
)
from callbacks.words import radius
from pipelines.distill.model import MeasuredModel
from pipelines.distill.numbers import over_seeds
from pipelines.evaluate.comparison import common, paired_table

COLUMNS = (
    "acc", "kept", "ece", "robust", "kept_robust", "agreement", "kl", "flips", "copied"
)  # fmt: skip


@dataclass(frozen=True)
class ModelComparison:
    """All models of a distillation.

    Args:
        models: the teacher first, and at least one student; students and controls of one name
            differ by their seed.
    """

    models: Sequence[MeasuredModel]

    @property
    def teacher(self) -> MeasuredModel:
        """The one all are compared with."""
        return self.models[0]

    @property
    def names(self) -> list[str]:
        """Of the models, in order."""
        return list(dict.fromkeys(model.name for model in self.models))

    def named(self, name: str) -> list[MeasuredModel]:
        """The models of a name, one for each seed."""
        return [model for model in self.models if model.name == name]

    def attacks(self, model: MeasuredModel) -> list[AttackSet]:
        """The attacks on a model by threat model; none where nothing attacked."""
        if model.evaluation is None:
            return []
        results = model.evaluation.families.get(adversarial.FAMILY.name, [])
        return attack_sets(results, model.evaluation.result("clean"))

    @cached_property
    def radii(self) -> dict[str, int]:
        """By threat model the step that robust accuracy is compared at, chosen by the teacher.

        The usual radius leaves many a teacher nothing that a student could keep; so it is the
        largest measured one at which it has at least half of its accuracy, else the smallest.
        """
        radii, half = {}, self.teacher.rows["correct"].mean() / 2
        for attacks in self.attacks(self.teacher):
            steps = [s for s in attacks.values if attacks.worst(s)["correct"].mean() >= half]
            radii[attacks.norm] = max(steps, default=min(attacks.values))
        return radii

    @cached_property
    def ball(self) -> str:
        """The threat models of the robust accuracy: `L∞ 8/255, L2 0.5`."""
        attacks = self.attacks(self.teacher)
        radii = [radius(a.values[self.radii[a.norm]], a.results[0].unit) for a in attacks]
        return ", ".join(f"{a.sign} {text}" for a, text in zip(attacks, radii, strict=True))

    def robust_rows(self, model: MeasuredModel) -> pd.DataFrame | None:
        """The worst rows over all attacks at `radii`, image by image; None if nothing attacked."""
        sets = [
            attack for attack in self.attacks(model) if self.radii.get(attack.norm) in attack.values
        ]
        return (
            worst_case([attack.worst(self.radii[attack.norm]) for attack in sets]) if sets else None
        )

    @cached_property
    def table(self) -> pd.DataFrame:
        """A line for each name: footprint, and `COLUMNS` with their intervals."""
        return pd.DataFrame([self._line(name) for name in self.names])

    def number(self, name: str, column: str) -> Interval:
        """A number of the table with its interval."""
        line = self.table.loc[self.table["model"] == name].iloc[0]
        return Interval(*(float(line[column + end]) for end in ("", "_low", "_high")))

    @cached_property
    def paired(self) -> pd.DataFrame:
        """Student minus teacher for every probe and setting, paired by image; empty without."""
        teacher, student = self.teacher.evaluation, self.named("student")[0].evaluation
        if teacher is None or student is None:
            return pd.DataFrame()
        return paired_table(*common(teacher.results, student.results)[:2])

    def _line(self, name: str) -> dict[str, Any]:
        first, *_ = models = self.named(name)
        numbers = self._numbers(models)
        if first is not self.teacher:  # which agrees with itself, and keeps all of it
            numbers |= self._relative_numbers(models)
        kind = name if name in ("teacher", "student") else "control"
        line = {"model": name, "kind": kind, "seeds": len(models), **asdict(first.footprint)}
        for column in COLUMNS:
            line |= numbers.get(column, NOTHING).columns(column)
        return line

    def _numbers(self, models: Sequence[MeasuredModel]) -> dict[str, Interval]:
        """Of the models of a name by themselves; what is of the first seed is told on the page."""
        rows, robust = models[0].rows, self.robust_rows(models[0])
        return {
            "acc": over_seeds([model.rows for model in models], _correct),
            "ece": ece_interval(rows["confidence"], rows["correct"]),
            "robust": NOTHING if robust is None else over_seeds([robust], _correct),
        }

    def _relative_numbers(self, models: Sequence[MeasuredModel]) -> dict[str, Interval]:
        """Of the models of a name in comparison with the teacher."""
        teacher, rows = self.teacher.rows, [model.rows for model in models]
        robust, its = (self.robust_rows(model) for model in (models[0], self.teacher))
        kept_robust = NOTHING
        if robust is not None and its is not None:
            kept_robust = kept_accuracy_over([robust], its)
        prediction, right = teacher["prediction"], teacher["correct"] == 1
        return {
            "kept": kept_accuracy_over(rows, teacher),
            "kept_robust": kept_robust,
            "agreement": over_seeds(rows, lambda own: own["prediction"] == prediction),
            "kl": over_seeds(rows, lambda own: own["kl"]),
            "flips": over_seeds(rows, lambda own: (own["correct"] == 0) & right),
            "copied": copied_errors(rows[0], teacher),
        }


def difference(
    models: Sequence[MeasuredModel], others: Sequence[MeasuredModel]
) -> tuple[Interval, float] | None:
    """Accuracy of the others minus the models', on the same images, seed by seed.

    Args:
        models: of one name.
        others: of another name, or of another distillation.

    Returns:
        The difference and McNemar's p; of several seeds the interval covers seeds and images, and
        p is NaN. None where no seed is in both.
    """
    own = {model.seed: model.rows.set_index("index")["correct"] for model in models}
    pairs = [
        pd.concat([own[other.seed], other.rows.set_index("index")["correct"]], axis=1, join="inner")
        for other in others
        if other.seed in own
    ]
    if not pairs or pairs[0].empty:
        return None
    first, second = (np.stack([pair.iloc[:, i].to_numpy(float) for pair in pairs]) for i in (0, 1))
    if len(pairs) > 1:  # McNemar's test knows images, not seeds
        return crossed_difference(first, second), float("nan")
    return paired_difference(first[0], second[0]), mcnemar(second[0], first[0])


def _correct(rows: pd.DataFrame) -> pd.Series:
    return rows["correct"]
