"""Teaches a student what its teacher says, not only what is right."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from datamodules.batch import Batch
from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.distillation.answers import HEAD_INPUT, Answers, answered
from lightning_modules.distillation.feature_matching import FeatureMatching
from lightning_modules.distillation.initialisation import initialise_from, pairs
from lightning_modules.distillation.objectives import (
    SOFT_TERMS,
    UNLABELLED,
    LossInputs,
    hard_labels,
)
from lightning_modules.distillation.recipe import DistillationRecipe
from lightning_modules.distillation.sizes import shown
from lightning_modules.distillation.teachers import Teachers, check_classes
from lightning_modules.duplication import duplicate
from lightning_modules.fine_tuning import FineTuning
from lightning_modules.losses import LOSSES
from lightning_modules.perturb import Perturb, perturbed
from lightning_modules.regularisers import Regularisation, Step
from lightning_modules.tuning import Tuning


class Distillation(FineTuning):
    """Fits a student to its teacher; optimizer, schedule and checkpoints are fine-tuning's.

    Logs `train/loss`, `val/loss`, `val/acc`, `val/agreement` (share of images on which teacher and
    student predict the same) and, for robust losses, `val/robust_acc`. A recipe of labels alone
    asks no teacher, and logs no agreement unless it selects by it.

    Args:
        teacher: one classifier, several, or `Teachers` whose cache earlier students have filled.
            The student itself teaches as it was at the start.
        student: trained in place.
        recipe: what is learnt from the teacher.
        tuning: optimizer, schedule and the loss of the hard labels.
        perturb: disturbs the student's images; the teacher sees them as they are. For "rslad" it is
            called with the teacher's probabilities `(N, K)` in place of the labels.
        example: `(1, C, H, W)` as the loader serves images, for feature losses.
        labelled: `(M,)` indices of the images whose labels may be used; None: all of them.
        regularisation: what is added to the loss, about the student alone.

    Raises:
        UserError: teacher, student and recipe do not fit together.
    """

    modes = ("full", "linear_probe")

    def __init__(
        self,
        teacher: Classifier | Sequence[Classifier] | Teachers,
        student: Classifier,
        recipe: DistillationRecipe | None = None,
        tuning: Tuning | None = None,
        perturb: Perturb | None = None,
        example: Tensor | None = None,
        labelled: Tensor | None = None,
        regularisation: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    ) -> None:
        self.recipe = (recipe or DistillationRecipe()).filled()
        layers = layer_pairs(self.recipe)
        self.teachers = made_teachers(teacher, self.recipe, student)
        check_classes(self.teachers, student)
        if self.recipe.init_from:
            source = self.teachers.classifiers[0].model
            initialise_from(student.model, source, self.recipe.init_from)
        super().__init__(student, tuning, perturb, regularisation)
        self._check_fit()
        self._own_layers = [own for own, _ in layers]
        self.matching = (
            FeatureMatching(self.recipe, layers, student, self.teachers, example)
            if self.recipe.uses_features
            else None
        )
        self.labelled, self._caching = labelled, False
        self._asks = self.recipe.asks_teacher
        self.val_agreement = MulticlassAccuracy(student.num_classes, average="micro")
        self.val_robust = MulticlassAccuracy(student.num_classes, average="micro")

    @property
    def monitor(self) -> str:
        """The logged number whose largest value marks the epoch to keep."""
        return f"val/{self.recipe.select or ('robust_acc' if self.recipe.is_robust else 'acc')}"

    def on_fit_start(self) -> None:
        """Moves the teacher, and decides whether its answers can be kept."""
        super().on_fit_start()
        self.teachers.to(self.device)
        augment = getattr(getattr(self.trainer, "datamodule", None), "augment", None)
        if self.recipe.cache and augment not in (None, "none"):
            raise UserError(
                f"Got `distillation.cache` with --data.augment {augment}: the teacher answers "
                "another random image in every epoch. Leave one of them out."
            )
        self._caching = self.recipe.cache or (self.recipe.cache is None and augment == "none")

    def on_fit_end(self) -> None:
        """Frees the device of the teacher, as Lightning does of the student."""
        self.teachers.to(torch.device("cpu"))

    def batch_loss(self, batch: Batch) -> Tensor:
        """The loss `()` of a batch, and what regularises the student."""
        teacher, image = self._teacher_answers("train", batch), self._shown(batch)
        label = self._labels(batch, teacher)
        disturbed = image
        if self.perturb is not None:
            disturbed = self._disturbed(image, batch.label, teacher.logits)
        return self.regularised(
            image, disturbed, label, lambda step: self.loss_of(self._loss_inputs(step, teacher))
        )

    def loss_of(self, inputs: LossInputs) -> Tensor:
        """Adds up the weighted terms of a batch."""
        recipe, tuning = self.recipe, self.tuning
        terms = []
        if recipe.hard_weight:
            hard = hard_labels(inputs, recipe, tuning.loss, tuning.label_smoothing)
            terms.append(recipe.hard_weight * hard)
        if recipe.soft_weight:
            soft = SOFT_TERMS[recipe.loss](inputs, recipe)
            terms.append(self._ramp() * recipe.soft_weight * soft)
        if recipe.feature_weight and self.matching is not None:
            match = self.matching(inputs.student, inputs.teacher)
            terms.append(self._ramp() * recipe.feature_weight * match)
        return torch.stack(terms).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measures loss, accuracy and agreement on undisturbed images, and robust accuracy."""
        image = self._shown(batch)
        logits, teacher = self(image).float(), self._teacher_answers("val", batch).logits
        self.val_loss(LOSSES[self.tuning.loss](logits, batch.label, 0.0), len(batch.label))
        self.val_acc(logits, batch.label)
        self.log("val/loss", self.val_loss, on_epoch=True)
        self.log("val/acc", self.val_acc, on_epoch=True, prog_bar=True)
        if len(teacher):
            self.val_agreement(logits, teacher.argmax(1))
            self.log("val/agreement", self.val_agreement, on_epoch=True)
        if self.monitor == "val/robust_acc":
            self.val_robust(self._attacked(image, batch.label, teacher), batch.label)
            self.log("val/robust_acc", self.val_robust, on_epoch=True, prog_bar=True)

    def _loss_inputs(self, step: Step, teacher: Answers) -> LossInputs:
        student = self._asked(step, step.disturbed)
        wanted = self.recipe.is_robust and (self.recipe.hard_weight or self.recipe.loss == "rslad")
        clean = self._asked(step, step.image) if wanted else student
        return LossInputs(student, clean, teacher, step.label)

    def _shown(self, batch: Batch) -> Tensor:
        """The images as the student sees them."""
        return shown(batch.image, self.classifier.preprocessing, self.teachers.native)

    def _asked(self, step: Step, image: Tensor) -> Answers:
        answers = answered(self, self.classifier.model, image, self._own_layers)
        step.knows(image, answers.logits)
        return answers

    def _teacher_answers(self, split: str, batch: Batch) -> Answers:
        """No rows where no loss and no selection needs them."""
        if not self._asks and not (split == "val" and self.monitor == "val/agreement"):
            return Answers(batch.image.new_empty(0, self.classifier.num_classes))
        if self._caching:
            return self.teachers.cached(split, batch.image, batch.index)
        return self.teachers(batch.image)

    def _labels(self, batch: Batch, teacher: Answers) -> Tensor:
        if self.recipe.labels == "teacher":
            return teacher.logits.argmax(1)
        if self.labelled is None:
            return batch.label
        known = torch.isin(batch.index, self.labelled.to(batch.index.device))
        return batch.label.where(known, torch.full_like(batch.label, UNLABELLED))

    def _disturbed(self, image: Tensor, label: Tensor, teacher: Tensor) -> Tensor:
        assert self.perturb is not None
        aim = teacher.softmax(1) if self.recipe.loss == "rslad" else label
        return perturbed(self.perturb, self.classifier, image, aim)

    def _attacked(self, image: Tensor, label: Tensor, teacher: Tensor) -> Tensor:
        """The student's logits for disturbed images, also where Lightning forbids gradients."""
        with torch.inference_mode(False), torch.enable_grad():
            worst = self._disturbed(image.clone(), label.clone(), teacher.clone())
        return self(worst).float()

    def _ramp(self) -> float:
        return min((self.current_epoch + 1) / self.recipe.ramp, 1.0) if self.recipe.ramp else 1.0

    def _check_fit(self) -> None:
        if self.tuning.mixup or self.tuning.cutmix:
            raise UserError("Got `tuning.mixup` or `tuning.cutmix`, which distillation has not.")
        if self.perturb is None and (self.recipe.is_robust or self.recipe.select == "robust_acc"):
            raise UserError(
                f"Expected `perturb` for robust distillation ({self.recipe.loss}), but got none: "
                "give an attack, for instance callbacks.AdversarialTraining."
            )
        parameters = sum(p.numel() for p in self.classifier.parameters())
        if parameters > self.teachers.parameters:
            warnings.warn(
                f"The student has {parameters:,} parameters, more than its teacher's "
                f"{self.teachers.parameters:,}: it will be no smaller.",
                stacklevel=2,
            )


def layer_pairs(recipe: DistillationRecipe) -> list[tuple[str, str]]:
    """The student's and the teacher's layers of a feature loss; rkd takes the heads' inputs."""
    named = recipe.layers or ((HEAD_INPUT,) if recipe.uses_features else ())
    return pairs(named)


def made_teachers(
    teacher: Classifier | Sequence[Classifier] | Teachers,
    recipe: DistillationRecipe,
    student: Classifier | None = None,
) -> Teachers:
    """Makes teachers for a recipe.

    Args:
        teacher: one or several; `Teachers` are returned as they are.
        recipe: its temperature, layers and weights of teachers.
        student: if it is among the teachers, a copy of it teaches.
    """
    if isinstance(teacher, Teachers):
        return teacher
    given = [teacher] if isinstance(teacher, Classifier) else list(teacher)
    classifiers = [duplicate(network) if network is student else network for network in given]
    layers = list(dict.fromkeys(its for _, its in layer_pairs(recipe)))
    temperature = recipe.filled().temperature or 1.0
    return Teachers(classifiers, recipe.teacher_weights, temperature, layers)
