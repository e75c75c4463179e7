"""Teaches a student with several heads what each head of its teacher says."""

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from datamodules.batch import Batch
from datamodules.errors import UserError
from datamodules.tasks import Task
from lightning_modules.classifier import Classifier
from lightning_modules.distillation import Answers, Distillation, DistillationRecipe, Teachers
from lightning_modules.distillation.objectives import SOFT_TERMS, UNLABELLED, LossInputs
from lightning_modules.losses import LOSSES
from lightning_modules.perturb import Perturb
from lightning_modules.tasks import (
    check_noise,
    head_names,
    log_accuracies,
    one_task,
    split_logits,
)
from lightning_modules.tuning import Tuning

_LOSSES = ("kd", "dkd")
"""Those of answers alone: features are of the backbone, and attacks aim at one label."""


def check_recipe(recipe: DistillationRecipe) -> None:
    """Refuses what no distillation of several heads knows.

    Raises:
        UserError: names the option.
    """
    if recipe.loss not in _LOSSES:
        raise UserError(
            f"Expected `distillation.loss` {' or '.join(_LOSSES)} for a teacher with several "
            f"tasks, but got {recipe.loss!r}."
        )
    wrong = {
        "labels": recipe.labels != "data",
        "init_from": bool(recipe.init_from),
        "select": recipe.select == "robust_acc",
    }
    for name, given in wrong.items():
        if given:
            raise UserError(
                f"Expected no `distillation.{name}` {getattr(recipe, name)!r} for a teacher with "
                "several tasks: leave it out."
            )


def teacher_of(classifier: Classifier, task: Task) -> Classifier:
    """A teacher's head for one task, as the teacher of a student of that task alone."""
    view = one_task(classifier, task)
    view.classes, view.tasks = head_names([task]), (task,)
    return view.eval()


class TaskDistillation(Distillation):
    """Fits every head to the teacher's: the loss is the mean over the tasks of each one's own.

    Of a task it is hard_weight · cross-entropy of the images that have a label in it, 0 where none
    has one, + soft_weight · soft targets of all images, each over the task's own classes: the
    softmax at T is taken head by head. Logs `val/acc` and `val/agreement`, means over the tasks,
    and `val/acc_TASK`.

    Args:
        teachers: one, with the student's tasks.
        student: with its `tasks`; trained in place.
        table: `(C, T)` labels in the tasks of every class of the data.
        recipe: kd or dkd; see `check_recipe`.
        tuning: optimizer, schedule and the loss of the hard labels.
        perturb: noise on the student's images.

    Raises:
        UserError: teacher, student and recipe do not fit together.
    """

    table: Tensor

    def __init__(
        self,
        teachers: Classifier | Teachers,
        student: Classifier,
        table: Tensor,
        recipe: DistillationRecipe | None = None,
        tuning: Tuning | None = None,
        perturb: Perturb | None = None,
    ) -> None:
        check_recipe(recipe or DistillationRecipe())
        check_noise(perturb)
        super().__init__(teachers, student, recipe, tuning, perturb)
        self.register_buffer("table", table, persistent=False)
        self.accuracies = nn.ModuleDict({f"of_{task.name}": MeanMetric() for task in student.tasks})
        self.alike = MeanMetric()

    def loss_of(self, inputs: LossInputs) -> Tensor:
        """Mean over the tasks of each one's weighted terms."""
        return torch.stack([self._task_loss(head) for head in self._heads(inputs)]).mean()

    def _task_loss(self, head: LossInputs) -> Tensor:
        recipe, tuning = self.recipe, self.tuning
        loss, known = 0.0 * head.student.logits.sum(), head.label != UNLABELLED
        if recipe.hard_weight and bool(known.any()):
            pair = head.student.logits[known], head.label[known]
            loss = loss + recipe.hard_weight * LOSSES[tuning.loss](*pair, tuning.label_smoothing)
        if recipe.soft_weight:
            soft = SOFT_TERMS[recipe.loss](head, recipe)
            loss = loss + self._ramp() * recipe.soft_weight * soft
        return loss

    def _heads(self, inputs: LossInputs) -> list[LossInputs]:
        """The batch as the loss of each task sees it; without a teacher its logits are empty."""
        tasks = self.classifier.tasks
        students = split_logits(inputs.student.logits, tasks)
        teachers = split_logits(inputs.teacher.logits, tasks)
        labels = self.table[inputs.label].T
        return [
            LossInputs(Answers(own), Answers(own), Answers(its), label)
            for own, its, label in zip(students, teachers, labels, strict=True)
        ]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures loss, accuracy and agreement of every task on the images as they are."""
        student = Answers(self(self._shown(batch)).float())
        teacher = self._teacher_answers("val", batch)
        heads = self._heads(LossInputs(student, student, teacher, batch.label))
        for head, accuracy in zip(heads, self.accuracies.values(), strict=True):
            logits, known = head.student.logits, head.label != UNLABELLED
            right = logits.argmax(1) == head.label
            accuracy.update(right[known].float())  # type: ignore[operator]
            if bool(known.any()):
                loss = LOSSES[self.tuning.loss](logits[known], head.label[known], 0.0)
                self.val_loss(loss, int(known.sum()))
            if len(teacher.logits):
                self.alike.update((logits.argmax(1) == head.teacher.logits.argmax(1)).float())
        self.log("val/loss", self.val_loss, on_epoch=True)
        if len(teacher.logits):
            self.log("val/agreement", self.alike, on_epoch=True)

    def on_validation_epoch_end(self) -> None:
        """Logs the accuracies, of every task and their mean."""
        log_accuracies(self, self.accuracies)
