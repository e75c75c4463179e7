"""Measures a model with several heads: each task, all together, and one attack on all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
from torch import Tensor

from callbacks import Budget, EvaluationProgress, Probe
from callbacks.adversarial.masking import is_masking
from callbacks.adversarial.tasks import TaskAttack
from callbacks.family import Number
from datamodules import ImageDataModule, Joined
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
    own = [with_own_index(views[n][1], _rows(n, e)) for n, e in evaluations.items()]
    if _has_several(study, classifier, data):
        own.append(with_own_index(data, _crossed(study, classifier, data, attack)))
    rows = pd.concat(own, ignore_index=True)
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
    table = label_table(classifier.tasks, data.classes)
    views = {}
    for task, labels in zip(classifier.tasks, table.T, strict=True):
        views[task.name] = one_task(classifier, task), labels, task.classes
    try:
        joint = all_tasks(classifier)
        views[_JOINT] = joint, joint_label(table, classifier.tasks), joint.classes
    except UserError as error:
        _warn(study, f"{error} Nothing was measured with all tasks as one.")
    made = {}
    for name, (view, labels, classes) in views.items():
        its, own = _data_of(data, labels)
        label = its.images("test").label
        missing = int((own[label] < 0).sum())
        if missing == len(label) and name == _JOINT:
            _warn(study, "No test image has a label in every task: all as one were not measured.")
        elif missing:
            what = "all tasks" if name == _JOINT else f"task {name}"
            _warn(
                study, f"{what.capitalize()}: {missing:,} of {len(label):,} test images have no "
                "label and are left out."
            )  # fmt: skip
        if missing < len(label):
            made[name] = view, with_labels(its, name, classes, own)
    return made


def _data_of(data: ImageDataModule, labels: Tensor) -> tuple[ImageDataModule, Tensor]:
    """The one of several data sets that has all labels of a task, so that it is measured as alone.

    Args:
        data: all that there is.
        labels: `(C,)` of every class of the data, -1 for none.
    """
    known = (labels >= 0).nonzero()[:, 0].tolist()
    found = data.part_of(known) if isinstance(data, Joined) and known else None
    return (found[0], labels[found[1]]) if found else (data, labels)


def _has_several(study: Study, classifier: Classifier, data: ImageDataModule) -> bool:
    """Whether any test image has labels of two tasks; that none has is told."""
    label = label_table(classifier.tasks, data.classes)[data.images("test").label]
    if bool(((label >= 0).sum(1) > 1).any()):
        return True
    _warn(
        study, "No test image has labels of two tasks, so there is none of which one attack could "
        "break several tasks, or all could be right: nothing was measured across tasks."
    )  # fmt: skip
    return False


def with_own_index(data: ImageDataModule, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the name of the data set in `data`, and the index that an image has in it."""
    if not isinstance(data, Joined):
        return rows.assign(data=data.title)
    titles = np.array([part.title for part in data.parts.values()])
    place, index = rows["index"] % len(titles), rows["index"] // len(titles)
    return rows.assign(data=titles[place], index=index)


def _warn(study: Study, text: str) -> None:
    if text not in study.notes:  # a study may measure several models
        study.notes.append(text)
        study.say(f"WARNING  {text}")


def _crossed(
    study: Study, classifier: Classifier, data: ImageDataModule, attack: TaskAttack
) -> pd.DataFrame:
    """Rows of one perturbation against one task or all, judged on every task.

    Of an attack on one task they are those of its images: others have no label to attack.
    """
    study.say("\ntask     attacks across tasks")
    trainer = study.trainer([EvaluationProgress(enabled=bool(study.config)), attack], **TRAINER)
    if not uninterrupted(trainer, lambda: trainer.test(classifier, data, verbose=False)):
        raise KeyboardInterrupt
    pairs = pd.DataFrame(
        [(name, *pair) for name, pair in attack.pairs.items()],
        columns=["setting", "attacked", "task"],
    )
    rows = attack.rows.loc[attack.rows["labelled"] == 1].merge(pairs, on="setting")
    images = data.images("test")
    labels = label_table(classifier.tasks, data.classes)[images.label]
    for task, own in zip(classifier.tasks, labels.T, strict=True):
        its = rows["index"].isin(images.index[own >= 0].tolist())
        rows = rows.loc[its | (rows["attacked"] != task.name)]
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
