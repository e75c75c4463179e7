"""Carries out a plan on one model; every piece of work is a cell that is there whole or not."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from callbacks import Probe
from callbacks.damage.injections import silent_error_rate
from callbacks.digests import classes_in, model_digest, source_digest
from callbacks.words import duration
from datamodules import ImageDataModule
from lightning_modules import Classifier, Tuning, save_classifier
from lightning_modules.recovery import Recovery
from lightning_modules.saved_model import load_into
from pipelines.evaluate.measure import make_probes, measure, prepare_probes
from pipelines.recover.damages import CONTROLS, Damaged, control, damaged_by
from pipelines.recover.features import features
from pipelines.recover.original import Original
from pipelines.recover.plan import Plan, Task
from pipelines.recover.row import OutOfMemoryError, Repaired, repaired
from pipelines.recover.table import DRAW
from pipelines.report.result import load_result, save_result
from pipelines.study import Study
from pipelines.study.cells import Cell
from pipelines.study.training import shuffled, train_steps

VERSION = 4
"""Of what a row says; cells of other versions are measured again."""


class Experiment:
    """A plan, carried out on one model.

    Args:
        study: gives cells, seed and flags, and takes the stages.
        original: the undamaged model.
        plan: what is done to it.
        probes: of the evaluations before and after, which become stages; None makes none.
        described: every damaged model is described by its features, to predict what comes back.
    """

    def __init__(
        self,
        study: Study,
        original: Original,
        plan: Plan,
        probes: Sequence[Probe | str] | None = None,
        described: bool = False,
    ) -> None:
        self.study, self.original, self.plan, self.probes = study, original, plan, probes
        self.described = described
        self.features: list[dict[str, Any]] = []
        """Of the damaged models that `rows` has come by."""
        self.answers: list[pd.DataFrame] = []
        """To every test image, after the repairs that `rows` has come by."""
        self._latest: tuple[tuple[Any, ...], Damaged] | None = None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the row of every repair; what is on disk already is not measured again."""
        begun, tasks = time.perf_counter(), list(self.plan.tasks(self.study.seed))
        if self.probes is not None:
            self._log_stage("original", self.whole())
        for done, task in enumerate(tasks, 1):
            cell = self._repair(task)
            row = dict(cell.facts)
            if len(cell.rows):  # none of what ran out of memory
                self.answers.append(cell.rows.assign(**{name: row[name] for name in DRAW}))
            if self.described and task.strategy == "nothing":
                self.features.append(self._features(task))
            left = (time.perf_counter() - begun) / done * (len(tasks) - done)
            later = f"   about {duration(left)} left" if done < len(tasks) else ""
            self.study.say_progress(
                f"{done:>4}/{len(tasks)} {_outcome(row)}{later}", done == len(tasks)
            )
            yield row

    def silent_errors(self, error: float) -> pd.DataFrame:
        """How often one injection silently changes one answer, to half an interval of `error`."""
        lines, seed, shown = (
            [],
            self.study.seed,
            (self.original.classifier, self.original.test.image),
        )
        for name, severity in self.plan.grid():
            damage = self.plan.damage(name)
            asked = (*shown, damage, severity, error, seed)
            facts = {"injected": severity, "error": error, "seed": seed, **_described(damage)}
            cell = self._cell(facts, lambda _, asked=asked: Cell(silent_error_rate(*asked)))
            lines.append({"subject": self.original.label, "damage": name, **cell.facts})
        return pd.DataFrame(lines)

    @cached_property
    def stage_settings(self) -> Any:
        """What the evaluations will measure; mistakes in the probes are told here."""
        if self.probes is None:
            return None
        probes = make_probes(self.probes, "quick", self.study)
        return prepare_probes(probes, self.original.classifier, self.original.data, self.study)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything besides the task that may change a row."""
        study = self.study
        return {
            "room": study.room, "version": VERSION, **self.original.facts, "flags": study.flags,
            "device": study.device.type, "precision": study.precision,
            "threads": torch.get_num_threads(), "torch": torch.__version__,
        }  # fmt: skip

    def whole(self) -> Cell:
        """The evaluation before any damage."""
        whole = Repaired(self.original.classifier, {}, pd.DataFrame())
        return self._cell(self._asked_of_stage("original"), self._evaluated(lambda: whole))

    def measured(self, task: Task) -> Cell:
        """A repair's row and answers; what does not fit into memory is tried another time."""
        repair = task.strategy, task.effort, task.training_seed

        def work() -> Repaired:
            with seeded(task.training_seed):  # dropout, too, must not depend on earlier cells
                return repaired(self._damaged(task), *repair, self.study.flags)

        evaluated = self._evaluated(work) if self._stage(task) else lambda _: Cell(*work()[1:])
        try:
            return self._cell(self._asked(task), evaluated)
        except OutOfMemoryError as problem:
            return Cell(problem.row)

    def described_as(self, task: Task) -> dict[str, Any]:
        """What the damaged model of a task looks like."""
        facts = self._asked_of_features(task)
        return dict(self._cell(facts, lambda _: Cell(features(self._damaged(task)))).facts)

    def keys(self, tasks: Sequence[Task]) -> list[str]:
        """Of all cells that tasks store; without any task, of the evaluation before damage."""
        asked = [self._asked(task) for task in tasks]
        if self.described:
            asked += [self._asked_of_features(task) for task in tasks if task.strategy == "nothing"]
        if not tasks:
            asked.append(self._asked_of_stage("original"))
        return [self.study.cells.key({**self.facts, **facts}) for facts in asked]

    def _repair(self, task: Task) -> Cell:
        """A repair, whose evaluation is logged where it has one."""
        cell = self.measured(task)
        if stage := self._stage(task):
            self._log_stage(stage, cell)
        return cell

    def _stage(self, task: Task) -> str:
        """Name of the evaluation of a task's model; empty where it has none."""
        if self.probes is None or not task.is_first:
            return ""
        is_idle = task.strategy == "nothing"
        return f"damaged {task}" if is_idle else f"repaired {task} {task.strategy}"

    def _asked(self, task: Task) -> dict[str, Any]:
        """What of a task may change its row."""
        damage = None if task.damage in CONTROLS else self.plan.damage(task.damage)
        facts = {"task": repr(task[:-1]), **_described(damage)}
        stage = self._stage(task)
        return {**facts, **self._asked_of_stage(stage)} if stage else facts

    def _asked_of_stage(self, name: str) -> dict[str, Any]:
        """A cell with an evaluation is another one than the same row without, as in an atlas."""
        return {"stage": name, "probes": self.stage_settings, "seed": self.study.seed}

    def _asked_of_features(self, task: Task) -> dict[str, Any]:
        return {"features": _place(task), **_described(self.plan.damage(task.damage))}

    def _features(self, task: Task) -> dict[str, Any]:
        """What a damaged model looks like, beside what it is known by."""
        return {"subject": self.original.label, **_place(task), **self.described_as(task)}

    def _evaluated(self, work: Callable[[], Repaired]) -> Callable[[Path], Cell]:
        """A row whose model is evaluated too."""
        study, data = self.study, self.original.data

        def evaluated(folder: Path) -> Cell:
            classifier, row, answers = work()
            if row.get("status", "ok") == "ok":
                probes = make_probes(self.probes, "quick", study)
                prepare_probes(probes, classifier, data, study)
                evaluation = measure(study, classifier, data, probes)
                if evaluation.about.interrupted:  # half an evaluation is no cell
                    raise KeyboardInterrupt
                save_result(evaluation, folder / "evaluation")
            return Cell(row, answers)

        return evaluated

    def _log_stage(self, name: str, cell: Cell) -> None:
        """Logs an evaluation, where there is one, to a run of its own."""
        if cell.folder is None or not (cell.folder / "evaluation").is_dir():
            return
        points = json.loads(cell.facts.get("curve", "[]"))
        curve = [
            (f"recovery/{number}", point[number], int(point["step"]))
            for point in points
            for number in ("acc", "loss")
            if math.isfinite(point[number])
        ]
        self.study.log_stage(name, load_result(cell.folder / "evaluation"), metrics=curve)

    def _cell(self, facts: Mapping[str, Any], work: Callable[[Path], Cell]) -> Cell:
        return self.study.cells.measured({**self.facts, **facts}, work)

    def _damaged(self, task: Task) -> Damaged:
        """The damaged model; made once for the strategies that follow each other."""
        name, severity, seed = key = task[:3]
        if self._latest is None or self._latest[0] != key:
            if name in CONTROLS:
                damaged = control(self.original, name, seed)
            else:
                damage, train = self.plan.damage(name), self._trained_on
                damaged = damaged_by(self.original, damage, name, severity, seed, train)
            self._latest = key, damaged
        return self._latest[1]

    def _trained_on(
        self, classifier: Classifier, data: ImageDataModule, steps: int, seed: int
    ) -> None:
        """Trains on spoiled data, as someone would who had not noticed."""
        served = shuffled(data, seed)

        def work(folder: Path) -> Cell:
            with seeded(seed):
                recipe = Tuning(schedule="constant")  # a rate that falls leaves backdoors out
                train_steps(Recovery(classifier, recipe), served, steps, self.study.flags)
            save_classifier(classifier, folder)
            return Cell({})

        # A cell of its own: many strategies begin here, and it takes as long as all of them.
        facts = {
            "trained on": served.training_digest(), "steps": steps, "seed": seed,
            "start": model_digest(classifier),
        }  # fmt: skip
        folder = self._cell(facts, work).folder
        assert folder is not None
        load_into(classifier, folder)


def _place(task: Task) -> dict[str, Any]:
    """By which a damaged model is known."""
    return {"damage": task.damage, "severity": task.severity, "seed": task.seed}


def _described(damage: Any) -> dict[str, str]:
    """A damage and the source of its algorithm, for a key."""
    return {"damage": repr(damage), "source": source_digest(*classes_in(damage))}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers that depend on the piece of work alone, not on what came before it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _outcome(row: Mapping[str, Any]) -> str:
    before, after = 100 * row["acc_damaged"], 100 * row["acc_repaired"]
    outcome = f"{before:.1f} -> {after:.1f} %" if row["status"] == "ok" else row["status"]
    damage = f"{row['damage']} {row['severity']:g}"
    named = {"none 0": "undamaged", "scratch 0": "from scratch"}.get(damage, damage)
    return f"{named} {row['strategy']}: {outcome}"
