"""What makes up the loss of a batch: hard labels, soft targets, features.

A new loss is a line in `SOFT_TERMS` or `FEATURE_TERMS` and in the recipe's `USUAL`.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from lightning_modules.distillation.answers import Answers
from lightning_modules.distillation.attention import attention_loss
from lightning_modules.distillation.decoupled import decoupled_loss
from lightning_modules.distillation.hints import hint_loss
from lightning_modules.distillation.recipe import DistillationRecipe
from lightning_modules.distillation.relational import relational_loss
from lightning_modules.distillation.robust import rslad_loss
from lightning_modules.distillation.soft_targets import soft_target_loss
from lightning_modules.losses import LOSSES

UNLABELLED = -1
"""The label of an image that has none."""


class LossInputs(NamedTuple):
    """One batch as a loss sees it.

    Args:
        student: answers to the images of the step, disturbed where there is a `perturb`.
        clean: answers to the undisturbed images; `student` itself where none were asked for.
        teacher: answers to the undisturbed images; none where nothing needs them.
        label: `(N,)` hard labels, `UNLABELLED` where there is none.
    """

    student: Answers
    clean: Answers
    teacher: Answers
    label: Tensor


def soft_targets(inputs: LossInputs, recipe: DistillationRecipe) -> Tensor:
    """Hinton's term; of disturbed images it is ARD's."""
    assert recipe.temperature is not None
    return soft_target_loss(inputs.student.logits, inputs.teacher.logits, recipe.temperature)


def decoupled(inputs: LossInputs, recipe: DistillationRecipe) -> Tensor:
    """DKD; an image without a label is split at what the teacher predicts."""
    assert recipe.temperature is not None
    teacher = inputs.teacher.logits
    label = inputs.label.where(inputs.label != UNLABELLED, teacher.argmax(1))
    student, temperature = inputs.student.logits, recipe.temperature
    return decoupled_loss(student, teacher, label, recipe.alpha, recipe.beta, temperature)


def robust_soft_labels(inputs: LossInputs, recipe: DistillationRecipe) -> Tensor:
    """RSLAD."""
    assert recipe.temperature is not None
    disturbed, clean = inputs.student.logits, inputs.clean.logits
    teacher = inputs.teacher.logits
    return rslad_loss(disturbed, clean, teacher, recipe.clean_share, recipe.temperature)


def hard_labels(
    inputs: LossInputs, recipe: DistillationRecipe, loss: str, smoothing: float
) -> Tensor:
    """The loss of the labelled images, 0 if there are none.

    Args:
        inputs: of the batch; robust losses take the undisturbed images.
        recipe: what is learnt.
        loss: a key of fine-tuning's `LOSSES`.
        smoothing: of the labels.
    """
    logits = (inputs.clean if recipe.is_robust else inputs.student).logits
    labelled = inputs.label != UNLABELLED
    if not bool(labelled.any()):
        return 0.0 * logits.sum()
    # A mean over all images: with few labels they do not weigh more.
    share = labelled.float().mean()
    return share * LOSSES[loss](logits[labelled], inputs.label[labelled], smoothing)


def hints(student: Tensor, teacher: Tensor, recipe: DistillationRecipe) -> Tensor:
    """FitNets."""
    return hint_loss(student, teacher)


def attention(student: Tensor, teacher: Tensor, recipe: DistillationRecipe) -> Tensor:
    """Attention transfer in the form of the recipe."""
    return attention_loss(student, teacher, recipe.attention_form)


def relations(student: Tensor, teacher: Tensor, recipe: DistillationRecipe) -> Tensor:
    """RKD with the weights of the recipe."""
    return relational_loss(student, teacher, recipe.distance_weight, recipe.angle_weight)


SOFT_TERMS: dict[str, Callable[[LossInputs, DistillationRecipe], Tensor]] = {
    "kd": soft_targets,
    "dkd": decoupled,
    "fitnets": soft_targets,
    "attention": soft_targets,
    "rkd": soft_targets,
    "ard": soft_targets,
    "rslad": robust_soft_labels,
}
FEATURE_TERMS: dict[str, Callable[[Tensor, Tensor, DistillationRecipe], Tensor]] = {
    "fitnets": hints,
    "attention": attention,
    "rkd": relations,
}
