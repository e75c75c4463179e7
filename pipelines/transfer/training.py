"""Trains a copy of a model in one of the modes that change the backbone."""

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from datamodules.fractions import held_out, with_images
from lightning_modules import Classifier, DivergedError, FineTuning
from lightning_modules.linear_probe import fit_linear_probe
from lightning_modules.lwf import LwFTuning
from lightning_modules.modes import tuned_module
from pipelines.study.training import BestEpoch, train
from pipelines.transfer.pair import Pair
from pipelines.transfer.recipe import Recipe

_QUIET: dict[str, Any] = {
    "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    "logger": False, "enable_checkpointing": True,
}  # fmt: skip


class Tuned(NamedTuple):
    """A model after its training.

    Args:
        classifier: with the best weights, in eval mode.
        samples: it learnt from, those it was selected by included.
        val_acc: of the selection; NaN where there was none.
        notes: how far its numbers can be trusted.
        learnt: parameters that learnt.
        old: holds what has become of the old last layer, where it went on learning.
    """

    classifier: Classifier
    samples: int
    val_acc: float
    notes: list[str]
    learnt: int = 0
    old: Classifier | None = None


def tuned(
    pair: Pair,
    mode: str,
    fraction: str,
    seed: int,
    recipe: Recipe,
    folder: Path,
    origin: Classifier | None = None,
) -> Tuned:
    """Trains on a fraction and keeps the best epoch, also where the loss is no number later on.

    Args:
        pair: model and data.
        mode: one of `TRAINED`.
        fraction: of the labelled images; 20 % of it select the epoch, unless it has but one image a
            class, where the last epoch is taken.
        seed: of the head, the choice, the order.
        recipe: everything else.
        folder: holds checkpoints for as long as it takes.
        origin: the model as it answers its source data; default: as it answers these.

    Raises:
        DivergedError: before any epoch was validated.
    """
    L.seed_everything(seed, verbose=False)
    classifier = pair.copied(seed)
    rows = pair.chosen[fraction, seed]
    learn, select = held_out(pair.pool.label[rows], seed)
    part = with_images(
        pair.data,
        train=pair.pool.subset(rows[learn]),
        val=pair.pool.subset(rows[select if len(select) else learn]),
    )
    if mode in ("lp_ft", "lwf"):
        index = pair.pool.index[rows]
        _install_probe(pair, classifier, index[learn], index[select])
    part.batch_size, part.seed = recipe.batch_size, seed
    epochs = recipe.epochs_for(len(learn))
    flags = {**_QUIET, **recipe.flags, "max_epochs": epochs}
    if not len(select):
        flags["limit_val_batches"] = 0
    with TemporaryDirectory(dir=folder) as kept:
        best = BestEpoch(Path(kept)) if len(select) else ModelCheckpoint(kept, save_top_k=0)
        module = _module(classifier, mode, recipe, epochs, origin or pair.model.classifier)
        outcome = train(module, part, Path(kept), flags, best)
    notes = []
    if outcome.diverged:
        if not outcome.restored:
            raise DivergedError(outcome.diverged)
        notes = [f"it ends with the best epoch before it diverged: {outcome.diverged}"]
    old = module.old_classifier() if isinstance(module, LwFTuning) else None
    classifier.eval().cpu()
    return Tuned(classifier, len(rows), outcome.score, notes, outcome.learnt, old)


def _module(
    classifier: Classifier, mode: str, recipe: Recipe, epochs: int, origin: Classifier
) -> FineTuning:
    """The module of a mode."""
    if mode == "lwf":
        return LwFTuning(classifier, origin, recipe.tuning, recipe.lwf_weight)
    own: dict[str, Any] = {"mode": mode}
    if mode == "last_k":
        own["last_k"] = recipe.last_k
    if mode == "lora":
        own |= {"lora_rank": recipe.lora_rank, "lora_alpha": recipe.lora_alpha}
    if mode == "l2_sp":
        own |= {"alpha": recipe.alpha, "weight_decay": 0.0}
    return tuned_module(classifier, replace(recipe.tuning, **own), epochs)


def _install_probe(pair: Pair, classifier: Classifier, learn: Tensor, select: Tensor) -> None:
    """Begins with the head of a linear probe of the same images, selected by the same ones.

    Args:
        pair: has the features.
        classifier: of its backbone, changed in place.
        learn: indices of images to learn from.
        select: indices of images to select by.
    """
    known, held = (pair.features.at(index) for index in (learn, select))
    probe = fit_linear_probe(
        known.feature, known.label, len(pair.classes), (held.feature, held.label), refit=False
    )
    probe.install(classifier.model)


def seconds_an_image(pair: Pair) -> float:
    """Measures one forward of an image in a batch, for the predicted time."""
    images = pair.test.__getitems__(list(range(min(64, len(pair.test)))))
    batch = pair.data.on_after_batch_transfer(images, 0)
    classifier = pair.model.classifier.to(pair.study.device)
    with torch.inference_mode():
        classifier(batch.image.to(pair.study.device))
        start = time.perf_counter()
        classifier(batch.image.to(pair.study.device)).cpu()
        return (time.perf_counter() - start) / len(batch.label)
