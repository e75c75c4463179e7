"""Trains a copy of a model in one of the modes that change the backbone."""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import lightning as L
import torch

from datamodules.errors import UserError
from datamodules.fractions import Fraction, held_out, with_images
from lightning_modules import Classifier, DivergedError, FineTuning
from lightning_modules.blocks import blocks
from lightning_modules.l2_sp import L2SPTuning
from lightning_modules.staged import StagedTuning, Unfreezing, unfrozen_by
from pipelines.trainer import made_trainer, uninterrupted
from pipelines.transfer.keep_best import KeepBest
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.subject import Subject

_QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class Trained(NamedTuple):
    """A finished training.

    Args:
        classifier: with the best weights, in eval mode.
        samples: it learnt from, those it was selected by included.
        val_acc: of the selection; NaN where there was none.
        notes: what a reader must know.
    """

    classifier: Classifier
    samples: int
    val_acc: float
    notes: list[str]


def train(subject: Subject, mode: str, fraction: Fraction, seed: int, recipe: Recipe) -> Trained:
    """Trains on a fraction and keeps the best epoch.

    A training that diverges ends with its last good checkpoint, the best epoch before.

    Args:
        subject: model and data.
        mode: one of `TRAINED`.
        fraction: of the labelled images; 20 % of it select the epoch, unless it has but one image a
            class, where the last epoch is taken.
        seed: of the head, the choice, the order.
        recipe: everything else.

    Raises:
        DivergedError: before any epoch was validated.
    """
    L.seed_everything(seed, verbose=False)
    classifier = subject.copied(seed)
    rows = subject.rows_of(fraction, seed)
    learn, select = held_out(subject.pool.label[rows], seed)
    part = with_images(
        subject.data,
        train=subject.pool.subset(rows[learn]),
        val=subject.pool.subset(rows[select if len(select) else learn]),
    )
    part.batch_size, part.seed = recipe.batch_size, seed
    epochs = recipe.epochs_for(len(learn))
    module = _module(classifier, mode, recipe, epochs)
    best = KeepBest(classifier.model)
    flags = {**recipe.flags, **_QUIET, "max_epochs": epochs}
    if not len(select):
        flags["limit_val_batches"] = 0
    trainer = made_trainer(flags, [best])
    notes: list[str] = []
    try:
        if not uninterrupted(trainer, lambda: trainer.fit(module, part)):
            raise KeyboardInterrupt
    except DivergedError as error:
        if best.epoch is None:
            raise
        notes.append(f"stopped at the last good checkpoint, epoch {best.epoch}: {error}")
    best.restore()
    return Trained(classifier.eval().cpu(), len(rows), best.accuracy, notes)


def _module(classifier: Classifier, mode: str, recipe: Recipe, epochs: int) -> FineTuning:
    """The module of a mode."""
    tuning = replace(recipe.tuning, mode="full")
    if mode == "full":
        return FineTuning(classifier, tuning)
    if mode == "l2_sp":
        return L2SPTuning(classifier, replace(tuning, weight_decay=0.0), recipe.alpha)
    if mode == "staged":
        return StagedTuning(classifier, tuning, unfrozen_by(classifier.model, epochs))
    names = blocks(classifier.model)
    if recipe.last_k >= len(names):
        raise UserError(
            f"Expected `last_k` below {len(names)}, the blocks of the network "
            f"({', '.join(names)}), but got {recipe.last_k}: that is mode full."
        )
    return StagedTuning(classifier, tuning, Unfreezing(recipe.last_k + 1, 0))


def seconds_an_image(subject: Subject) -> float:
    """Measures one forward of an image in a batch, for the predicted time."""
    images = subject.test.__getitems__(list(range(min(64, len(subject.test)))))
    batch = subject.data.on_after_batch_transfer(images, 0)
    classifier = subject.model.classifier.to(subject.device)
    with torch.inference_mode():
        classifier(batch.image.to(subject.device))
        start = time.perf_counter()
        classifier(batch.image.to(subject.device)).cpu()
        return (time.perf_counter() - start) / len(batch.label)
