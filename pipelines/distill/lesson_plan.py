"""Everything that the trainings of one distillation share."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from callbacks import AdversarialTraining
from callbacks.adversarial import PGD
from callbacks.adversarial.soft_label_training import SoftLabelTraining
from datamodules import ImageDataModule
from datamodules.errors import UserError
from datamodules.splits import limited
from lightning_modules import Classifier, FineTuning, Perturb, Tuning
from lightning_modules.distillation import Distillation, DistillationRecipe, Teachers
from pipelines.distill.training import trained
from pipelines.tracking import Run, Store, started


@dataclass(frozen=True)
class LessonPlan:
    """What is taught, by whom, on what, and where it is logged.

    Args:
        teachers: whose cache all seeds share.
        fresh: makes a student of a seed.
        data: serves images large enough for both.
        recipe: what is learnt.
        tuning: how.
        perturb: of the student's images.
        labelled: indices of images whose labels are used; None: all.
        flags: of the Trainer.
        root: folder that holds `mlruns/`.
        store: of MLflow.
        parent: the pipeline's run.
        name: of the students.
    """

    teachers: Teachers
    fresh: Callable[[int], Classifier]
    data: ImageDataModule
    recipe: DistillationRecipe
    tuning: Tuning
    perturb: Perturb | None
    labelled: Tensor | None
    flags: dict[str, Any]
    root: Path
    store: Store | None
    parent: Run
    name: str

    def taught(
        self,
        title: str,
        seed: int,
        teachers: Teachers | None = None,
        recipe: DistillationRecipe | None = None,
    ) -> tuple[Classifier, Path, Run]:
        """Trains a fresh student of a seed and returns it with its folder and run."""
        student = self.fresh(seed)
        module = Distillation(
            teachers or self.teachers,
            student,
            recipe or self.recipe,
            self.tuning,
            self.perturb,
            self.data.taken("train", 1).image,
            self.labelled,
        )
        folder, run = self.fit(module, title, seed, self.data)
        return student, folder, run

    def fit(
        self, module: FineTuning, title: str, seed: int, data: ImageDataModule
    ) -> tuple[Path, Run]:
        """Trains in a child run of its own."""
        L.seed_everything(seed, verbose=False)
        # The same images in another order: a copy, because the seed also names the split.
        shuffled = copy.copy(data)
        shuffled.seed = seed
        name = f"{self.name}-{title.replace(' ', '-')}-s{seed}"
        tags = {"question": "training", "data": data.name, "stage": title}
        with started(self.store, f"training-{name}", tags, self.parent) as run:
            folder = trained(module, shuffled, run, name, self.root, dict(self.flags))
            run.log_data(data.manifest(), data.manifest_digest(), "train")
        return folder, run

    @property
    def labels_only(self) -> DistillationRecipe:
        """The same training, selected alike, without a word of the teacher."""
        select = self.recipe.select or ("robust_acc" if self.recipe.is_robust else None)
        return replace(
            DistillationRecipe(hard_weight=1.0, soft_weight=0.0),
            select=select, cache=self.recipe.cache,
        )  # fmt: skip


def usual_attack(recipe: DistillationRecipe, data: ImageDataModule) -> Perturb | None:
    """The published inner maximisation of a robust loss, at the data set's usual radius."""
    radius = data.epsilon["Linf"]
    if recipe.loss == "ard":
        pgd = PGD(steps=10, step_size=radius / 4)
        return AdversarialTraining(radius, attack=pgd)
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


def device_of(flags: dict[str, Any]) -> str:
    """Where the Trainer of these flags computes, as far as one device goes."""
    return "cuda" if torch.cuda.is_available() and flags.get("accelerator") != "cpu" else "cpu"
