"""A distillation whose models and data are open, in the command and in each of its workers."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

from datamodules.errors import UserError, suggestion
from lightning_modules.distillation import Search
from lightning_modules.own_optimization import OwnOptimization
from lightning_modules.trainer import device_flags
from pipelines.distill.cell import Training, evaluated, teacher_of, trainings
from pipelines.distill.controls import CONTROLS
from pipelines.distill.model import TrainedModel
from pipelines.distill.plan import Plan, make_plan
from pipelines.distill_tasks.measure import check_controls
from pipelines.engine import Piece, Unit, units_of
from pipelines.study import Study, options_in
from pipelines.study.fitting import Fitting
from pipelines.study.regularisation import tell_regularisation
from pipelines.study.trainer_flags import TRAINER, check_flags


@dataclass(frozen=True)
class Distilling:
    """Everything that is known before a student is trained.

    Args:
        study: of the command, or of a worker.
        plan: what is distilled.
        seeds: of the students.
        controls: that they are compared with.
        labelled: how many labels are used.
        evaluation: preset that models are measured with, or none.
    """

    study: Study
    plan: Plan
    seeds: list[int]
    controls: Sequence[str]
    labelled: int | None
    evaluation: str

    @cached_property
    def pieces(self) -> list[Piece]:
        """The teacher under the probes; each student and control: its training, then these too."""
        pieces = [Piece("teacher", partial(self._probed, model=teacher_of(self.plan)))]
        seen: set[str] = set()
        for one in trainings(self.seeds, self.controls):
            first = one.name not in seen
            seen.add(one.name)
            pieces.append(Piece(one.title, partial(self._trained, training=one, first=first)))
        return pieces

    def units(self) -> list[Unit]:
        """Models of which something is not there."""
        return units_of(self.study, self.pieces)

    def measure(self, number: int) -> None:
        """Trains a model, and measures it."""
        self.pieces[number].work(self.study)

    def _trained(self, study: Study, training: Training, first: bool) -> None:
        model = training.train(study, self.plan, training.seed)
        if first:
            self._probed(study, model)

    def _probed(self, study: Study, model: TrainedModel) -> None:
        """Under the probes; the undisturbed images are a moment's work of the command.

        The command measures models of several tasks, too, as every task is logged meanwhile.
        """
        if self.evaluation == "none" or self.plan.tasks or len(model.classifiers) > 1:
            return
        its = copy.copy(study)
        its.flags = device_flags(study.flags)  # the others are about training
        evaluated(its, self.plan, model, self.evaluation)


def opened(asked: Mapping[str, Any]) -> Distilling:
    """Opens models and data, and checks what is asked of them.

    Args:
        asked: arguments of `distill`, options included.

    Raises:
        UserError: something the user can mend, such as class spaces that differ.
    """
    seeds, controls = asked["seeds"], asked["controls"]
    _check(seeds, controls)
    own = OwnOptimization(asked["optimizer"], asked["scheduler"])
    said = (asked[name] for name in ("lr_find", "early_stopping", "checkpoint", "ckpt_path"))
    fitting = Fitting(own, *said)
    if fitting.file is not None and (len(seeds) > 1 or controls):
        raise UserError("Expected one of `seeds` and no `controls` with `ckpt_path`, a student's.")
    shared = asked["engine"].kind != "none"
    _check_search(asked["auto"], fitting, shared)
    tuning = fitting.tuned(asked["tuning"])
    study = Study("distill", "distillation", options_in(asked), TRAINER)
    check_flags(study.flags, evaluated=True)
    if shared:
        study.on_one_device("each worker has one.")
    plan = make_plan(
        study, asked["teacher"], asked["student"], study.open_data(asked["data"]),
        asked["distillation"], tuning, asked["perturb"], fitting, asked["labelled"],
        asked["student_arch"], seeds[0], asked["regulariser"],
    )  # fmt: skip
    check_controls(plan, controls)
    if plan.tasks and asked["auto"].trials:
        raise UserError("Expected no `auto.trials` for a teacher with several tasks.")
    tell_regularisation(study, asked["regulariser"], plan.tuning, study.models[0])
    return Distilling(study, plan, seeds, controls, asked["labelled"], asked["evaluation"])


def _check(seeds: list[int], controls: Sequence[str]) -> None:
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"Expected different `seeds` of at least 0, but got {seeds}.")
    for name in controls:
        if name not in CONTROLS:
            raise UserError(f"There is no control {name!r}.{suggestion(name, CONTROLS)}")


def _check_search(auto: Search, fitting: Fitting, shared: bool) -> None:
    """Refuses what no search heeds, and what does not go with one."""
    idle = [part.name for part in fields(auto) if getattr(auto, part.name) != part.default]
    if idle and not auto.trials:
        raise UserError(
            f"Got `auto.{idle[0]}` without `auto.trials`, how many recipes are tried: add it, or "
            "leave out what is to be searched."
        )
    if auto.trials and (fitting.file is not None or fitting.lr_find):
        raise UserError("Expected no `ckpt_path` or `lr_find` with `auto.trials`: there are many.")
    if auto.trials and shared:
        raise UserError(
            "Expected no `engine.kind` with `auto.trials`, each of which is judged by those before "
            "it: search without an engine, then name the recipe that was found."
        )
