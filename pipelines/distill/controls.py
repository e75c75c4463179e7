"""What a distilled student is compared with; a new control is a line in `CONTROLS` and `TITLES`."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from lightning_modules import FineTuning
from lightning_modules.distillation import (
    Teachers,
    composed,
    count_pruned,
    hold_pruned,
    pruning_masks,
    rounded,
)
from lightning_modules.duplication import duplicate
from lightning_modules.task_distillation import teacher_of
from pipelines.distill.model import TrainedModel
from pipelines.distill.plan import Plan, adopted
from pipelines.distill.training import fit, train_student
from pipelines.recover.original import redrawn
from pipelines.study import Study


def label_only(study: Study, plan: Plan, seed: int) -> TrainedModel:
    """The same student, start and budget, trained on the labels alone."""
    return train_student(study, plan, seed, "label only", recipe=plan.labels_only)


def random_teacher(study: Study, plan: Plan, seed: int) -> TrainedModel:
    """The same recipe with a teacher of random weights: what a second loss term does by itself."""
    teacher = duplicate(plan.teachers.classifiers[0])
    teacher.model = redrawn(teacher.model, seed + 1)  # no parameter stays, wherever it belongs
    like = plan.teachers
    teachers = Teachers([teacher], (), like.temperature, like.layers, like.chunk, like.native)
    return train_student(study, plan, seed, "random teacher", teachers)


def pruned_teacher(study: Study, plan: Plan, seed: int) -> TrainedModel:
    """The teacher without its smallest weights, down to the student's work, then fine-tuned."""
    teacher = composed(duplicate(plan.teachers.classifiers[0]).eval())
    image = plan.images_for(teacher.preprocessing)
    masks = pruning_masks(teacher.model, image, plan.student_macs)
    # Fine-tuning shows images as the loader serves them.
    with hold_pruned(teacher.model, masks), adopted(plan.data, teacher.preprocessing):
        fit(study, plan, FineTuning(teacher, plan.tuning), "pruned teacher", seed, {})
    compressed = count_pruned(teacher.eval().model, image)
    note = (
        "Pruned teacher: single weights, fine-tuned for the student's budget; bytes do not count "
        "where the weights stand, and dense kernels run it no faster."
    )
    return TrainedModel("pruned teacher", seed, [teacher], (1.0,), compressed, note)


def int8_teacher(study: Study, plan: Plan, seed: int) -> TrainedModel:
    """The teacher with weights rounded to 8 bits, not trained again."""
    teacher = duplicate(plan.teachers.classifiers[0]).eval()
    compressed = rounded(teacher.model, plan.images_for(teacher.preprocessing))
    teacher.model = compressed.model
    note = "Int8 teacher: weights only, a scale a channel; computed in floats, so no faster here."
    return TrainedModel("int8 teacher", seed, [teacher], (1.0,), compressed, note)


def single_task(study: Study, plan: Plan, seed: int) -> TrainedModel:
    """A student for each task of the teacher, taught by that head alone."""
    teacher, like, students = plan.teachers.classifiers[0], plan.teachers, []
    for task in plan.tasks:
        its = Teachers(
            [teacher_of(teacher, task)], (), like.temperature, (), like.chunk, like.native
        )
        own = replace(plan, teachers=its, make_student=partial(plan.make_student, tasks=(task,)))
        students += train_student(study, own, seed, f"single task {task.name}").classifiers
    return TrainedModel("single task", seed, students)


CONTROLS: dict[str, Callable[[Study, Plan, int], TrainedModel]] = {
    "label_only": label_only,
    "random_teacher": random_teacher,
    "pruned": pruned_teacher,
    "int8": int8_teacher,
    "single_task": single_task,
}
TITLES = {
    "label_only": "label only",
    "random_teacher": "random teacher",
    "pruned": "pruned teacher",
    "int8": "int8 teacher",
    "single_task": "single task",
}
EVERY_SEED = ("label_only", "single_task")
"""Controls that are trained for every seed, others for the first."""
OF_TASKS = EVERY_SEED
"""Controls of a teacher with several tasks."""
