"""What a distilled student is compared with; a new control is a line in `CONTROLS`."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from lightning_modules import Classifier, FineTuning
from lightning_modules.distillation import (
    Compressed,
    Teachers,
    hold_pruned,
    pruning_masks,
    rounded,
    settle_pruned,
    shown,
)
from pipelines.distill.lesson_plan import LessonPlan


class Control(NamedTuple):
    """A model to compare with.

    Args:
        classifier: trained as far as it is to be.
        smaller: its size, where the measured one would be that of zeros and floats.
        note: what a reader must know.
    """

    classifier: Classifier
    smaller: Compressed | None = None
    note: str = ""


def label_only(plan: LessonPlan, seed: int, macs: int) -> Control:
    """The same student, start and budget, taught by the labels alone."""
    return Control(plan.taught("label only", seed, recipe=plan.labels_only)[0])


def random_teacher(plan: LessonPlan, seed: int, macs: int) -> Control:
    """The same recipe with a teacher of random weights: what a second loss term does by itself."""
    teacher = copy.deepcopy(plan.teachers.classifiers[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        for part in teacher.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()  # type: ignore[operator]
    like = plan.teachers
    teachers = Teachers([teacher], (), like.temperature, like.layers, like.chunk, like.native)
    return Control(plan.taught("random teacher", seed, teachers)[0])


def pruned_teacher(plan: LessonPlan, seed: int, macs: int) -> Control:
    """The teacher without its smallest weights, down to the student's work, then fine-tuned."""
    teacher = copy.deepcopy(plan.teachers.classifiers[0])
    wanted = teacher.preprocessing
    image = shown(plan.data.taken("train", 1).image, wanted, plan.teachers.native)
    model = teacher.eval().model
    hold_pruned(model, pruning_masks(model, image, macs))
    served = plan.data.preprocessing
    plan.data.adopt(wanted)  # fine-tuning shows images as the loader serves them
    try:
        plan.fit(FineTuning(teacher, plan.tuning), "pruned teacher", seed, plan.data)
    finally:
        plan.data.adopt(served)
    made = settle_pruned(teacher.eval().model, image)
    note = (
        "Pruned teacher: single weights, fine-tuned for the student's budget; bytes do not count "
        "where the weights stand, and dense kernels run it no faster."
    )
    return Control(teacher, made, note)


def int8_teacher(plan: LessonPlan, seed: int, macs: int) -> Control:
    """The teacher with weights rounded to 8 bits, not trained again."""
    teacher = copy.deepcopy(plan.teachers.classifiers[0]).eval()
    image = shown(plan.data.taken("train", 1).image, teacher.preprocessing, plan.teachers.native)
    made = rounded(teacher.model, image)
    teacher.model = made.model
    note = "Int8 teacher: weights only, a scale a channel; computed in floats, so no faster here."
    return Control(teacher, made, note)


CONTROLS: dict[str, Callable[[LessonPlan, int, int], Control]] = {
    "label_only": label_only,
    "random_teacher": random_teacher,
    "pruned": pruned_teacher,
    "int8": int8_teacher,
}
TITLES = {
    "label_only": "label only",
    "random_teacher": "random teacher",
    "pruned": "pruned teacher",
    "int8": "int8 teacher",
}


def network(classifiers: tuple[Classifier, ...]) -> nn.Module:
    """One module that runs all of them, so that the footprint of several teachers is theirs."""
    return classifiers[0] if len(classifiers) == 1 else _All(classifiers)


class _All(nn.Module):
    def __init__(self, classifiers: tuple[Classifier, ...]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        parts = [
            one(shown(image, one.preprocessing))  # type: ignore[arg-type]
            for one in self.classifiers
        ]
        return torch.stack(parts).mean(0)
