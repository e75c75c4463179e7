"""`assay distill`: teach a student what its teacher says, keep it, and measure what it kept."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, Literal

import pandas as pd
from typing_extensions import Unpack  # Python 3.10 has none

from datamodules import ImageDataModule
from lightning_modules import Perturb, Regularisation, Tuning
from lightning_modules.distillation import DistillationRecipe, Search
from lightning_modules.own_optimization import MakeOptimizer, MakeScheduler
from pipelines.cli import COMMANDS
from pipelines.distill.cell import measure_models, train_models
from pipelines.distill.model import TrainedModel
from pipelines.distill.opened import Distilling, opened
from pipelines.distill.plan import Plan, adopted
from pipelines.distill.result import DistillationResult
from pipelines.distill.search import searched
from pipelines.distill_tasks.measure import measure_task_models, task_result
from pipelines.distill_tasks.result import TaskDistillationResult
from pipelines.engine import Engine, opened_on
from pipelines.report.about import About
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.fitting import Checkpoint, EarlyStopping
from pipelines.study.trainer_flags import TRAINER

Control = Literal["label_only", "random_teacher", "pruned", "int8", "single_task"]


def main(words: list[str]) -> int:
    """Runs the command line."""
    distill(**parse(distill, words, TRAINER, COMMANDS["distill"].example))
    return 0


def distill(
    teacher: ModelLike | Sequence[ModelLike],
    student: ModelLike,
    data: DataLike,
    distillation: DistillationRecipe = DistillationRecipe(),  # noqa: B008  (frozen)
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    perturb: Perturb | None = None,
    optimizer: MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    lr_find: bool = False,
    early_stopping: EarlyStopping = EarlyStopping(),  # noqa: B008  (frozen)
    checkpoint: Checkpoint = Checkpoint(),  # noqa: B008  (frozen)
    ckpt_path: str | None = None,
    regulariser: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    auto: Search = Search(),  # noqa: B008  (frozen)
    seeds: list[int] = [0],  # noqa: B006  (never changed)
    controls: list[Control] = [],  # noqa: B006
    labelled: int | None = None,
    evaluation: Literal["quick", "regular", "full", "none"] = "quick",
    student_arch: str | None = None,
    engine: Engine = Engine(),  # noqa: B008  (frozen)
    **options: Unpack[Options],
) -> DistillationResult | TaskDistillationResult:
    """Teaches a student what its teacher says, keeps the best epoch, and measures what it kept.

    Args:
        teacher: one or several, e.g. checkpoint:FILE, torchvision:resnet18; of one with several
            tasks the student learns every head. In Python also networks.
        student: where it starts, e.g. lenet, torchvision:resnet18, or self: the teacher's own
            architecture with fresh weights. In Python also a network.
        data: what it is taught, validated and tested on.
        distillation: what is learnt from the teacher.
        auto: search for that instead, on the validation images; the test images see the best alone.
        tuning: optimizer and schedule.
        perturb: disturbs the student's images; default for ard and rslad: the published attack at
            the data set's usual radius.
        optimizer: in place of the recipe's: a class of torch.optim with its options, e.g.
            torch.optim.SGD --optimizer.lr 0.01; in Python what makes it of parameters.
        scheduler: of the learning rate, in place of the recipe's, stepped once an epoch: a class of
            torch.optim.lr_scheduler with its options; in Python what makes it of an optimizer.
        lr_find: look for the learning rate by a short trial before.
        early_stopping: when the training ends before its last epoch.
        checkpoint: when it is written to disk; the same command goes on after it was stopped.
        ckpt_path: checkpoint of another training to go on from, or last: go on or say that there is
            nothing to go on with.
        regulariser: what is added to the student's loss, each with its weight; see `assay list
            regularisers`.
        seeds: a student for each; the first is measured under probes too.
        controls: what to compare with; label_only and single_task (a student for each task of a
            teacher with several) for every seed, others for the first.
        labelled: keep the labels of so many training images; of the rest only the teacher speaks.
        evaluation: preset that students, teacher and controls are measured with, or none.
        student_arch: architecture of the student's bare checkpoint.
        engine: workers for students and controls: by Ray or by submitit, e.g. as SLURM's jobs.
        **options: see `Options`; `arch` is that of the teacher's bare checkpoint.

    Returns:
        All models on the same test images, by task where the teacher has several.

    Raises:
        UserError: something the user can mend, such as class spaces that differ.
        DivergedError: no student could be trained.
    """
    asked = dict(locals())
    kept = adopted(data, data.preprocessing) if isinstance(data, ImageDataModule) else nullcontext()
    with kept, opened_on(engine, opened, asked) as (distilling, fill):
        return _distilled(distilling, auto, fill)


def _distilled(
    distilling: Distilling, auto: Search, fill: Callable[[], None]
) -> DistillationResult | TaskDistillationResult:
    """Trains and measures, and tells the result."""
    study, plan, seeds = distilling.study, distilling.plan, distilling.seeds
    controls, labelled, evaluation = distilling.controls, distilling.labelled, distilling.evaluation
    searching = {f"auto.{k}": v for k, v in asdict(auto).items()} if auto.trials else {}
    settings = {**_settings(plan, seeds, controls, labelled, evaluation), **searching}
    # The Trainer's flags decide how long is trained, so they belong to the run's key.
    with study.running(study.name(plan.name), {**settings, "flags": repr(study.flags)}):
        trials = pd.DataFrame()
        if auto.trials:
            plan, trials, note = searched(study, plan, auto, seeds[0])
            study.notes.append(note)
            settings |= _settings(plan, seeds, controls, labelled, evaluation)
        fill()
        models, failed = train_models(study, plan, seeds, controls)
        if plan.tasks:
            answers = measure_task_models(study, plan, models, evaluation)
            study.notes += _notes(models, failed, plan.recipe, labelled)
            about = _about(study, models)  # last, as it has the time and what was noted
            result = task_result(answers, about, settings, failed, evaluation)
            study.finish(result)
            return result
        measured = measure_models(study, plan, models, evaluation)
        study.notes += _notes(models, failed, plan.recipe, labelled)
        result = DistillationResult(_about(study, models), measured, settings, failed, trials)
        study.finish(result)
    return result


def _settings(
    plan: Plan, seeds: list[int], controls: Sequence[str], labelled: int | None, evaluation: str
) -> dict[str, Any]:
    """The run's parameters, which also tell its folder from those of other settings."""
    parts = {"distillation": asdict(plan.recipe.filled()), "tuning": asdict(plan.tuning)}
    if plan.regularisation.chosen:  # else the run's folder is that of before there were any
        parts["regulariser"] = plan.regularisation.chosen
    return {
        **{
            f"{part}.{name}": [*value] if isinstance(value, tuple) else value
            for part, values in parts.items()
            for name, value in values.items()
        },
        "perturb": repr(plan.perturb),
        **plan.fitting.facts(),
        **({"lr_find": True} if plan.fitting.lr_find else {}),
        "seeds": seeds,
        "controls": [*controls],
        "labelled": labelled,
        "evaluation": evaluation,
    }


def _about(study: Study, models: Sequence[TrainedModel]) -> About:
    """The first student as it was trained and the teachers, told apart where both are a lenet."""
    about = study.about(*models[1].classifiers, *models[0].classifiers)
    roles = ["student", *["teacher"] * len(models[0].classifiers)]
    pairs = zip(roles, about.models, strict=True)
    return replace(about, models=[{**m, "name": f"{role} {m['name']}"} for role, m in pairs])


def _notes(
    models: Sequence[TrainedModel],
    failed: dict[str, str],
    recipe: DistillationRecipe,
    labelled: int | None,
) -> Iterator[str]:
    """What limits the comparison."""
    teacher, student = models[0], models[1]
    if len(teacher.classifiers) > 1:
        yield "Attacks and robust accuracy are of single models only, not of several teachers."
    yield from dict.fromkeys(model.note for model in models if model.note)
    own, its = (
        sum(p.numel() for part in model.classifiers for p in part.parameters())
        for model in (student, teacher)
    )
    if own > its:
        yield f"The student is larger than its teacher: {own:,} against {its:,} parameters."
    if labelled is not None:
        yield f"Labels of {labelled:,} training images were used; the teacher spoke of the rest."
    if recipe.is_robust:
        yield "The student was trained against one attack; stronger ones may leave it less."
    for title, problem in failed.items():
        yield f"{title} failed and is left out: {problem}"
