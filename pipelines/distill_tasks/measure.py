"""Measures a teacher with several heads, its students and controls, task by task."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from callbacks import Probe
from datamodules.errors import UserError
from datamodules.tasks import label_table
from lightning_modules import Classifier
from lightning_modules.tasks import split_logits
from lightning_modules.trainer import device_flags
from pipelines.distill.answers import answer_test, clean_rows
from pipelines.distill.cell import model_facts
from pipelines.distill.controls import OF_TASKS
from pipelines.distill.model import TrainedModel, titled
from pipelines.distill.plan import Plan, adopted
from pipelines.distill_tasks.result import TaskDistillationResult
from pipelines.evaluate.measure import budget_of, make_probes, prepare_probes
from pipelines.report.about import About
from pipelines.study import Study
from pipelines.study.cells import Cell
from pipelines.tasks.measure import measure_tasks, task_attack, with_own_index

_CLEAN = {"family": "test", "setting": "clean", "severity": 0, "value": 0.0, "attacked": ""}


def check_controls(plan: Plan, controls: Sequence[str]) -> None:
    """Refuses controls that this teacher has not.

    Raises:
        UserError: names them.
    """
    wrong = [x for x in controls if plan.tasks and x not in OF_TASKS]
    if wrong:
        raise UserError(
            f"Expected `controls` {' and '.join(OF_TASKS)} for a teacher with several tasks, but "
            f"got {', '.join(wrong)}."
        )
    if not plan.tasks and "single_task" in controls:
        raise UserError(
            "Got the control single_task, but the teacher has one head: leave it out, or give a "
            "teacher with tasks, trained by `assay fine-tune --tasks FILE`."
        )


def measure_task_models(
    study: Study, plan: Plan, models: Sequence[TrainedModel], preset: str
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Rows of every model and task, and how many parameters the models of a name have.

    Undisturbed images are shown to the models of every seed; the preset's probes and the attacks
    across tasks to the first of each name that is one network.

    Args:
        study: of the runs.
        plan: gives images and tasks.
        models: the teacher first.
        preset: of the probes, or "none".
    """
    study.flags = device_flags(study.flags)
    labels = label_table(plan.tasks, plan.data.classes)
    teacher: dict[str, Tensor] = {}
    parts: list[pd.DataFrame] = []
    sizes: dict[str, int] = {}
    for model in models:
        index, label, logits = _answers(study, plan, model)
        teacher = teacher or logits
        for place, task in enumerate(plan.tasks):
            own = labels[label, place]
            known = own >= 0
            its = [x[known] for x in (index, own, logits[task.name], teacher[task.name])]
            rows = with_own_index(plan.data, clean_rows(*its))
            parts.append(rows.assign(**_of(model), task=task.name, **_CLEAN))
        if preset != "none" and model.name not in sizes and len(model.classifiers) == 1:
            parts.append(_disturbed(study, plan, model, preset))
        sizes.setdefault(model.name, sum(_parameters(one) for one in model.classifiers))
    return pd.concat(parts, ignore_index=True), sizes


def task_result(
    measured: tuple[pd.DataFrame, dict[str, int]], about: About, settings: Mapping[str, Any],
    failed: Mapping[str, str], preset: str,
) -> TaskDistillationResult:  # fmt: skip
    """What was measured, told; see `measure_task_models`."""
    notes = [*about.notes]
    if preset != "none":
        notes.append("Disturbed images: the first seed of teacher, student and label only alone.")
    return TaskDistillationResult(about.with_notes(notes), *measured, settings, failed)


def _answers(
    study: Study, plan: Plan, model: TrainedModel
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Indices and labels `(N,)` of the test images, and each task's logits by its name."""
    logits: dict[str, Tensor] = {}
    index = label = torch.empty(0)
    for classifier in model.classifiers:
        with adopted(plan.data, classifier.preprocessing):
            index, label, answer = answer_test([classifier], plan.data, device=study.device)
        heads = split_logits(answer, classifier.tasks)
        logits |= {task.name: z for task, z in zip(classifier.tasks, heads, strict=True)}
    return index, label, logits


def _disturbed(study: Study, plan: Plan, model: TrainedModel, preset: str) -> pd.DataFrame:
    """Rows of one model under the preset's probes, for each task and across them."""
    (classifier,) = model.classifiers

    def make(_: Sequence[str]) -> list[Probe]:
        return make_probes(None, preset, study)

    with adopted(plan.data, classifier.preprocessing):
        attack = task_attack(
            classifier, plan.data, budget_of(preset, study), None, None, None, None
        )
        of = {
            **model_facts(study, plan, model),
            "across": prepare_probes([attack], classifier, plan.data, study),
            "probes": [(probe.algorithm, probe.limit) for probe in make(())],
            "seed": study.seed,
        }

        def work(_: Path) -> Cell:
            title = titled(model.name, model.seed)
            study.say(f"measure  {title}")
            found = measure_tasks(study, classifier, plan.data, make, attack, 0, title).rows
            kept = (found["setting"] != "clean") & (found["task"] != "joint")
            return Cell({}, found.loc[kept])

        cell = study.cells.measured({"cell": "distill tasks disturbed", **of}, work)
    return cell.rows.assign(**_of(model))


def _of(model: TrainedModel) -> dict[str, Any]:
    return {"model": model.name, "seed": model.seed}


def _parameters(classifier: Classifier) -> int:
    return sum(p.numel() for p in classifier.parameters())
