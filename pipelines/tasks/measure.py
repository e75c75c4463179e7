"""Measures a model with several heads: each task, all together, and one attack on all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from callbacks import Budget, EvaluationProgress, Probe
from callbacks.adversarial.masking import is_masking
from callbacks.adversarial.tasks import TaskAttack
from callbacks.family import Number
from datamodules import ImageDataModule
from datamodules.errors import UserError
from datamodules.tasks import label_table, with_labels
from lightning_modules import Classifier
from lightning_modules.tasks import all_tasks, joint_label, one_task
from lightning_modules.trainer import uninterrupted
from pipelines.evaluate.measure import TRAINER, measure, prepare_probes
from pipelines.evaluate.result import Evaluation
from pipelines.study import Study, slug
from pipelines.tasks.numbers import ITSELF, KEYS
from pipelines.tasks.result import TaskEvaluation

MakeProbes = Callable[[Sequence[str]], list[Probe]]
"""From the classes of a task to fresh probes for it."""
_JOINT = "joint"


def task_attack(
    classifier: Classifier, data: ImageDataModule, budget: Budget, norm: str | None,
    epsilon: Sequence[float | str] | None, steps: int | None, restarts: int | None,
) -> TaskAttack:  # fmt: skip
    """The attack on one head and on all, with what the command line says of attacks."""
    return TaskAttack(
        classifier.tasks, data.classes, norm or "linf", epsilon, steps or budget.steps,
        restarts or budget.restarts, limit=budget.limit, chunk=budget.chunk, seed=budget.seed,
    )  # fmt: skip


def measure_tasks(
    study: Study, classifier: Classifier, data: ImageDataModule, make: MakeProbes,
    attack: TaskAttack, adversarials: int, title: str = "",
) -> TaskEvaluation:  # fmt: skip
    """Measures every task under ordinary probes, all as one, and attacks across tasks.

    Args:
        study: gets a run below its own for each task and for all together.
        classifier: with its tasks, in evaluation mode.
        data: whose classes the tasks know.
        make: probes for a task.
        attack: across tasks, prepared.
        adversarials: see `evaluate`.
        title: of the model, where the study has several: before the names of the runs.

    Raises:
        UserError: the data bring images disturbed already.
        KeyboardInterrupt: after what was measured is logged.
    """
    views = task_views(study, classifier, data)
    evaluations = {}
    for name, (view, its) in views.items():
        stage = f"{title} {name}".strip()
        with _about(study, stage, its):
            study.say(f"\ntask     {name}")
            probes = make(view.classes)
            prepare_probes(probes, view, its, study)
            evaluation = measure(study, view, its, probes, adversarials)
        study.log_stage(stage, evaluation, task=name)
        if evaluation.about.interrupted:
            raise KeyboardInterrupt
        evaluations[name] = evaluation
    crossed = _crossed(study, classifier, data, attack)
    rows = pd.concat([*(_rows(n, e) for n, e in evaluations.items()), crossed], ignore_index=True)
    numbers: dict[str, Number] = {
        f"{name}_{key}": number._replace(title=f"{name}: {number.title}", card=key == "clean_acc")
        for name, evaluation in evaluations.items()
        for key, number in evaluation.headline().items()
        if number.card  # the others are in the task's own run
    }
    first = next(iter(evaluations.values()))
    said = set(study.about(classifier).notes)
    notes = [f"{n}: {x}" for n, e in evaluations.items() for x in e.about.notes if x not in said]
    about = study.about(classifier)
    about = about.with_notes([*about.notes, *notes])
    done = {**first.parameters(), f"probe.{attack.name}": attack.algorithm}
    return TaskEvaluation(about, rows, numbers, done)


def task_views(
    study: Study, classifier: Classifier, data: ImageDataModule
) -> dict[str, tuple[Classifier, ImageDataModule]]:
    """Each task as a model and a data set of its own, then all as one; what is left out is told."""
    if data.own_probes:
        raise UserError(
            f"Expected undisturbed images for a model with several tasks, but got {data.title}."
        )
    table, count = label_table(classifier.tasks, data.classes), len(data.images("test"))
    views = {}
    for task, labels in zip(classifier.tasks, table.T, strict=True):
        views[task.name] = one_task(classifier, task), labels, task.classes
    try:
        joint = all_tasks(classifier)
        views[_JOINT] = joint, joint_label(table, classifier.tasks), joint.classes
    except UserError as error:
        study.notes.append(f"{error} Nothing was measured with all tasks as one.")
        study.say(f"WARNING  {study.notes[-1]}")
    made = {}
    for name, (view, labels, classes) in views.items():
        labelled = int((labels[data.images("test").label] >= 0).sum())
        if labelled < count:
            what = "all tasks" if name == _JOINT else f"task {name}"
            text = (
                f"{what.capitalize()}: {count - labelled:,} of {count:,} test images have no label "
                "and are left out."
            )
            study.notes.append(text)
            study.say(f"WARNING  {text}")
        if labelled:
            made[name] = view, with_labels(data, name, classes, labels)
    return made


def _crossed(
    study: Study, classifier: Classifier, data: ImageDataModule, attack: TaskAttack
) -> pd.DataFrame:
    """Rows of one perturbation against one task or all, judged on every task."""
    study.say("\ntask     attacks across tasks")
    trainer = study.trainer([EvaluationProgress(enabled=bool(study.config)), attack], **TRAINER)
    if not uninterrupted(trainer, lambda: trainer.test(classifier, data, verbose=False)):
        raise KeyboardInterrupt
    pairs = pd.DataFrame(
        [(name, *pair) for name, pair in attack.pairs.items()],
        columns=["setting", "attacked", "task"],
    )
    rows = attack.rows.loc[attack.rows["labelled"] == 1].merge(pairs, on="setting")
    return rows.assign(family=attack.family, setting=attack.name)[_columns(rows)]


def _rows(task: str, evaluation: Evaluation) -> pd.DataFrame:
    """All rows of a task's evaluation, attacked by itself; masking is told on its own page."""
    tables = []
    for result in evaluation.results:
        if is_masking(result):
            continue
        attacked = ITSELF if "clean_correct" in result.rows else ""
        rows = result.rows.assign(task=task, attacked=attacked, family=result.family)
        tables.append(rows[_columns(rows)])
    return pd.concat(tables, ignore_index=True)


def _columns(rows: pd.DataFrame) -> list[str]:
    """Those that rows of all tasks share, where they have them."""
    wanted = [*KEYS, "task", "draw", "index", "label", "prediction", "loss", "confidence",
              "margin", "correct", "clean_correct"]  # fmt: skip
    return [name for name in wanted if name in rows or name in ("family",)]


@contextmanager
def _about(study: Study, name: str, data: ImageDataModule) -> Iterator[None]:
    """Lets the study be about one task, in a folder of its own, and afterwards as before."""
    before = study.data, study.folder
    study.data, study.folder = [data], study.folder / "stages" / slug(name)
    try:
        yield
    finally:
        study.data, study.folder = before
