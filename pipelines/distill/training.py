"""Trains students, each in a run of its own and only once."""

import copy
from collections.abc import Mapping
from typing import Any

import lightning as L

from datamodules.tasks import label_table
from lightning_modules import FineTuning
from lightning_modules.distillation import Distillation, DistillationRecipe, Teachers
from lightning_modules.task_distillation import TaskDistillation
from pipelines.distill.model import TrainedModel, titled
from pipelines.distill.plan import Plan
from pipelines.study import Study, slug
from pipelines.study.training import shuffled, trained_weights


def train_student(
    study: Study,
    plan: Plan,
    seed: int,
    name: str = "student",
    teachers: Teachers | None = None,
    recipe: DistillationRecipe | None = None,
) -> TrainedModel:
    """Trains a fresh student.

    Args:
        study: of the runs.
        plan: what is distilled.
        seed: of its weights and of the order of the images.
        name: of the model.
        teachers: default: those of the plan.
        recipe: default: that of the plan.

    Raises:
        DivergedError: the loss is no number.
    """
    teachers, recipe = teachers or plan.teachers, recipe or plan.recipe
    module = distillation(plan, seed, teachers, recipe)
    fit(study, plan, module, name, seed, plan.facts(teachers, recipe))
    return TrainedModel(name, seed, [module.classifier])


def distillation(
    plan: Plan, seed: int, teachers: Teachers, recipe: DistillationRecipe
) -> Distillation:
    """Makes the training of a fresh student; see `train_student`."""
    # A copy, because attacks count their batches: no training may depend on those before it.
    perturb = copy.deepcopy(plan.perturb)
    student = plan.make_student(seed)
    if student.tasks:
        table = label_table(student.tasks, plan.data.classes)
        return TaskDistillation(teachers, student, table, recipe, plan.tuning, perturb)
    example = plan.data.taken("train", 1).image
    return Distillation(
        teachers, student, recipe, plan.tuning, perturb, example, plan.labelled,
        plan.regularisation,
    )  # fmt: skip


def fit(
    study: Study, plan: Plan, module: FineTuning, name: str, seed: int, facts: Mapping[str, Any]
) -> None:
    """Trains a module, or takes the weights of the same training done before.

    Args:
        study: of the runs.
        plan: gives the images.
        module: its classifier gets the weights of the best epoch.
        name: of the model.
        seed: of everything random in the training.
        facts: what decides the weights besides what `trained_weights` knows.
    """
    classifier, title = module.classifier, titled(name, seed)
    plan.fitting.fit_to(module)
    study.say(f"model    {title}")
    L.seed_everything(seed, verbose=False)
    folder = slug(f"{plan.name}-{plan.data.title}-{title}")
    with study.stage(title, model=classifier.source or classifier.architecture) as run:
        data = shuffled(plan.data, seed)
        weights = trained_weights(study, module, data, folder, run, facts, plan.fitting)
    classifier.eval().source = f"checkpoint:{weights}"
    study.say(f"weights  {weights}")
