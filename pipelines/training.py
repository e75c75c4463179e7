"""One training: the best epoch is kept, also where it ends in numbers that are none."""

import copy
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from callbacks.digests import model_digest
from datamodules import ImageDataModule
from lightning_modules import (
    Classifier,
    DivergedError,
    FineTuning,
    save_classifier,
    weight_average,
)
from pipelines.cells import Cell
from pipelines.study import Study
from pipelines.tracking import Run, TrackingError
from pipelines.tracking.logger import RunLogger
from pipelines.trainer import made_trainer, uninterrupted

TRAINER: dict[str, Any] = {
    "max_epochs": 5,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class Trained(NamedTuple):
    """How a training went; its module has the weights of the best epoch.

    Args:
        score: of the best epoch, in the metric that the module monitors; NaN without validation.
        epochs: that were begun.
        diverged: why it ended early, if it did.
        restored: whether there was a good epoch to go back to.
    """

    score: float
    epochs: int
    diverged: str = ""
    restored: bool = True


def train(
    module: FineTuning, data: ImageDataModule, folder: Path, flags: Mapping[str, Any]
) -> Trained:
    """Trains and goes back to the best epoch.

    Args:
        module: its classifier is trained in place; its attribute `monitor`, else `val/acc`, is
            what the best epoch has most of.
        data: what it is trained and validated on.
        folder: for `best.ckpt` and `last.ckpt`.
        flags: of the Trainer, with its logger.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    monitor = getattr(module, "monitor", "val/acc")
    best = ModelCheckpoint(
        folder, "best", monitor=monitor, mode="max", save_last=True, enable_version_counter=False
    )
    average = [weight_average(module.tuning.ema)] if module.tuning.ema else []
    trainer = made_trainer(dict(flags), [best, *average])
    diverged = ""
    try:
        if not uninterrupted(trainer, lambda: trainer.fit(module, data)):
            raise KeyboardInterrupt
    except DivergedError as error:
        diverged = str(error)
    restored = _restore(module, best.best_model_path)
    score = float("nan") if best.best_model_score is None else float(best.best_model_score)
    return Trained(score, trainer.current_epoch, diverged, restored)


def trained_weights(
    study: Study, module: FineTuning, data: ImageDataModule, name: str, run: Run,
    facts: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Trains a module unless the same training is on disk, and returns the folder of its weights.

    Args:
        study: gives flags, cells and the folder.
        module: its classifier gets the weights of the best epoch.
        data: what it is trained and validated on.
        name: of the folder below `mlruns/checkpoints`, to which the key is added.
        run: gets curves, recipe and model.
        facts: what decides the weights besides start, recipe, data, seed and flags.

    Raises:
        DivergedError: the loss is no number; the last good epoch is saved and named.
    """
    flags = {**TRAINER, **study.flags}
    decides = {
        "start": model_digest(module.classifier), "module": type(module).__name__,
        "tuning": asdict(module.tuning), "perturb": repr(module.perturb),
        "data": data.training_digest(), "batch_size": data.batch_size, "augment": data.augment,
        "seed": data.seed, "flags": {k: repr(v) for k, v in sorted(flags.items())},
        "torch": torch.__version__, **(facts or {}),
    }  # fmt: skip
    folder = study.root / "mlruns" / "checkpoints" / f"{name}-{study.cells.key(decides)[:8]}"

    def work(_: Path) -> Cell:
        if study.is_first:
            shutil.rmtree(folder, ignore_errors=True)  # of a try that was killed
        outcome = train(module, data, folder, {**flags, "logger": RunLogger(run)})
        if outcome.diverged:
            raise DivergedError(f"{outcome.diverged} {_rescued(module, outcome, folder)}")
        if study.is_first:
            save_classifier(module.classifier, folder)
        return Cell({"score": outcome.score, "epochs": outcome.epochs})

    cell = study.cells.measured(decides, work)
    load_weights(module.classifier, folder)
    _log(run, module, data, cell, folder)
    return folder


def load_weights(classifier: Classifier, folder: Path) -> None:
    """Takes the weights that `save_classifier` wrote for the same network."""
    state = safetensors.torch.load_file(folder / "model.safetensors")
    classifier.model.load_state_dict(state)


def shuffled(data: ImageDataModule, seed: int) -> ImageDataModule:
    """The same splits in another training order; nothing is loaded again."""
    data.images("train")
    other = copy.copy(data)
    other.reseed(seed)
    return other


def _log(run: Run, module: FineTuning, data: ImageDataModule, cell: Cell, folder: Path) -> None:
    recipe = {f"tuning.{name}": value for name, value in asdict(module.tuning).items()}
    perturb = repr(module.perturb)
    try:
        run.log_batch(params={**recipe, "epochs": cell.facts["epochs"], "perturb": perturb})
        run.log_data(data.manifest(), data.manifest_digest(), "train")
        run.log_model(module.classifier)
    except TrackingError as error:
        raise TrackingError(f"{error} The weights are in {str(folder)!r}.") from error


def _rescued(module: FineTuning, outcome: Trained, folder: Path) -> str:
    """Saves the last good epoch after a training that diverged, and says where."""
    if not outcome.restored:
        return "No epoch was finished, so there is no good checkpoint."
    return f"The best epoch before is kept in {str(save_classifier(module.classifier, folder))!r}."


def _restore(module: FineTuning, file: str) -> bool:
    if not file:
        return False
    state = torch.load(file, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return True
