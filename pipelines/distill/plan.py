"""What a distillation trains, and everything that its trainings share."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from callbacks import AdversarialTraining
from callbacks.adversarial import PGD
from callbacks.adversarial.soft_label_training import SoftLabelTraining
from callbacks.digests import model_digest
from callbacks.shards import fingerprint
from datamodules import ImageDataModule, Preprocessing
from datamodules.errors import UserError
from datamodules.splits import limited
from datamodules.tasks import Task
from lightning_modules import Classifier, Perturb, Regularisation, Tuning, load_classifier
from lightning_modules.distillation import (
    DistillationRecipe,
    Teachers,
    largest,
    made_teachers,
    shown,
)
from lightning_modules.task_distillation import check_recipe
from lightning_modules.tasks import head_names
from pipelines.distill.footprint import macs
from pipelines.recover.original import redrawn
from pipelines.study import ModelLike, Study
from pipelines.study.fitting import Fitting
from pipelines.study.radius import fill_radius

_VERSION = 1
"""To be raised with whatever changes the weights that a distillation ends with."""


@dataclass(frozen=True)
class Plan:
    """The teachers, the student and the recipe.

    Args:
        teachers: whose cached answers all seeds share.
        make_student: an untrained one, of a seed; of a teacher with several tasks it has a head for
            each, or for the `tasks` that it is given.
        data: serves images large enough for teachers and student.
        recipe: what is learnt from the teacher.
        tuning: optimizer and schedule.
        perturb: disturbs the student's images.
        fitting: what the user says of every training besides the recipe.
        labelled: indices of the training images whose labels are used; None: all.
        student_macs: multiply-accumulates of the student for one image.
        name: `lenet-from-resnet18`.
        regularisation: what is added to the student's loss.
    """

    teachers: Teachers
    make_student: Callable[..., Classifier]
    data: ImageDataModule
    recipe: DistillationRecipe
    tuning: Tuning
    perturb: Perturb | None
    fitting: Fitting
    labelled: Tensor | None
    student_macs: int
    name: str
    regularisation: Regularisation = Regularisation()  # noqa: RUF009  (frozen)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Those of a teacher with several heads, or none."""
        return self.teachers.classifiers[0].tasks

    def images_for(self, preprocessing: Preprocessing, count: int = 1) -> Tensor:
        """`(count, C, H, W)` training images as a model of that preprocessing sees them."""
        return shown(self.data.taken("train", count).image, preprocessing, self.teachers.native)

    @property
    def labels_only(self) -> DistillationRecipe:
        """The same training, its epoch chosen alike, without the teacher's answers."""
        select = self.recipe.select or ("robust_acc" if self.recipe.is_robust else None)
        return replace(
            DistillationRecipe(hard_weight=1.0, soft_weight=0.0),
            select=select, cache=self.recipe.cache,
        )  # fmt: skip

    def start_digest(self, seed: int) -> str:
        """Hashes the weights that a student of a seed starts with."""
        return model_digest(self.make_student(seed))

    def facts(self, teachers: Teachers, recipe: DistillationRecipe) -> dict[str, Any]:
        """What decides a student's weights besides what every training knows of itself."""
        labelled = None if self.labelled is None else self.labelled.tolist()
        tasks = teachers.classifiers[0].tasks
        return {
            **({"tasks": repr(tasks)} if tasks else {}),
            "teachers": [model_digest(teacher) for teacher in teachers.classifiers],
            "seen": [repr(teacher.preprocessing) for teacher in teachers.classifiers],
            "weights": teachers.weights,
            "native": teachers.native,
            "chunk": teachers.chunk,  # kernels round by the shape of a call
            "version": _VERSION,
            "recipe": asdict(recipe.filled()),
            "labelled": fingerprint({"index": labelled}),
        }


def make_plan(
    study: Study,
    teacher: ModelLike | Sequence[ModelLike],
    student: ModelLike,
    data: ImageDataModule,
    recipe: DistillationRecipe,
    tuning: Tuning,
    perturb: Perturb | None,
    fitting: Fitting,
    labelled: int | None,
    student_arch: str | None,
    seed: int,
    regularisation: Regularisation,
) -> Plan:
    """Opens the models and lets the data serve what the largest of them wants.

    Args:
        study: gets student and teachers as the models that it is about.
        teacher: see `distill`, like all that follow.
        student: a source, a network, or "self".
        data: adopts what all of them can be shown.
        recipe: what is learnt.
        tuning: how.
        perturb: None takes the published attack of a robust loss.
        fitting: what the user says of every training besides.
        labelled: how many labels are used.
        student_arch: of a bare checkpoint.
        seed: of the first student.
        regularisation: see `Plan`.
    """
    teachers = _open_teachers(study, teacher, data)
    if any(one.tasks for one in teachers):
        check_tasks(teachers, recipe, labelled, regularisation)
    make_student = _student_maker(study, student, teachers[0], data, student_arch)
    first = make_student(seed)
    asked = made_teachers(teachers, recipe)
    fill_radius(perturb, data)
    # Models that state no size are shown the data's own, not what the largest model wants.
    with adopted(data, data.native):
        height, width = data.taken("train", 1).image.shape[-2:]
    asked.native = height, width
    data.adopt(largest(first.preprocessing, *(model.preprocessing for model in teachers)))
    study.models = [first, *teachers]  # tags and key of the run
    own, its = (model.architecture.rpartition(":")[2] for model in (first, teachers[0]))
    image = shown(data.taken("train", 1).image, first.preprocessing, asked.native)
    return Plan(
        asked, make_student, data, recipe, tuning, perturb or usual_attack(recipe, data),
        fitting, labelled_indices(data, labelled), macs(first.eval(), image), f"{own}-from-{its}",
        regularisation,
    )  # fmt: skip


def check_tasks(
    teachers: Sequence[Classifier], recipe: DistillationRecipe, labelled: int | None,
    regularisation: Regularisation,
) -> None:  # fmt: skip
    """Refuses what no distillation of several heads knows.

    Raises:
        UserError: names it.
    """
    if len(teachers) > 1:
        raise UserError(
            f"Expected one teacher where it has several tasks, but got {len(teachers)}: distil "
            "from that one alone."
        )
    if labelled is not None or regularisation.chosen:
        raise UserError("Expected no `labelled` or `regulariser` for a teacher with several tasks.")
    check_recipe(recipe)


@contextmanager
def adopted(data: ImageDataModule, preprocessing: Preprocessing) -> Iterator[None]:
    """Serves images as one model wants them, and afterwards as before."""
    before = data.preprocessing
    data.adopt(preprocessing)
    try:
        yield
    finally:
        data.adopt(before)


def usual_attack(recipe: DistillationRecipe, data: ImageDataModule) -> Perturb | None:
    """The published inner maximisation of a robust loss, at the data set's usual radius."""
    radius = data.epsilon["Linf"]
    if recipe.loss == "ard":
        return AdversarialTraining(radius, attack=PGD(steps=10, step_size=radius / 4))
    return SoftLabelTraining(radius) if recipe.loss == "rslad" else None


def labelled_indices(data: ImageDataModule, count: int | None) -> Tensor | None:
    """Indices of `count` training images, classes balanced; None for all.

    Raises:
        UserError: there are not so many, or fewer than classes.
    """
    if count is None:
        return None
    images = data.images("train")
    if not data.num_classes <= count <= len(images):
        raise UserError(
            f"Expected `labelled` from {data.num_classes} (one image a class) to {len(images)}, "
            f"but got {count}."
        )
    return images.index[limited(images.label, count, data.seed)]


def _open_teachers(
    study: Study, teacher: ModelLike | Sequence[ModelLike], data: ImageDataModule
) -> list[Classifier]:
    """Loads each as if it were alone: the first must not decide what the next one sees."""
    named = [teacher] if isinstance(teacher, str | nn.Module) else list(teacher)
    teachers = []
    for model in named:
        with adopted(data, data.native):
            teachers.append(study.open_model(model, data).eval())
    return teachers


def _student_maker(
    study: Study,
    student: ModelLike,
    teacher: Classifier,
    data: ImageDataModule,
    arch: str | None,
) -> Callable[[int], Classifier]:
    """What makes the untrained student of a seed: its weights are drawn, or those of a file."""
    alike = student == "self"
    source = teacher.architecture if alike else student
    study.name_store(source)
    if arch is not None and not (isinstance(source, str) and source.startswith("checkpoint:")):
        raise UserError(
            f"Got `student_arch` {arch!r}, but `student` is no checkpoint whose architecture could "
            "be told: leave it out."
        )
    if alike and teacher.architecture.partition(":")[0] == "checkpoint":
        raise UserError("Expected a teacher whose architecture is known for `student` self.")

    def loaded(seed: int, tasks: tuple[Task, ...]) -> Classifier:
        L.seed_everything(seed, verbose=False)
        # What the data are by themselves, not what the teacher wants to see of them.
        like = teacher.preprocessing if alike else data.native
        # A network in memory is copied: every seed starts with it as it was given.
        return load_classifier(
            copy.deepcopy(source), arch=arch, data_classes=head_names(tasks) or data.classes,
            preprocessing=like, new_head=True, trust_pickle=study.trust_pickle,
        )  # fmt: skip

    def make(seed: int, tasks: tuple[Task, ...] = teacher.tasks) -> Classifier:
        classifier = loaded(seed, tasks)
        if alike and _share_weights(classifier, loaded(seed + 1, tasks)):
            classifier.model = redrawn(classifier.model, seed)
            classifier.pretrained = False
            said = f"{source} comes with weights: the student's are drawn anew, layer by layer."
            study.notes += [said] if said not in study.notes else []
        if tasks:
            classifier.classes, classifier.tasks = head_names(tasks), tasks
        classifier.chunk = study.chunk
        return classifier

    return make


def _share_weights(one: Classifier, other: Classifier) -> bool:
    """Whether weights that are not constant are the same for two seeds: somebody loads them."""
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    return any(bool((a != a.flatten()[:1]).any()) and torch.equal(a, b) for a, b in pairs)
