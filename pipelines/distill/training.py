"""One training that keeps its best epoch, also where it ends in numbers that are none."""

from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import ImageDataModule
from lightning_modules import DivergedError, FineTuning, save_classifier, weight_average
from pipelines.tracking import Run
from pipelines.tracking.logger import RunLogger
from pipelines.trainer import made_trainer, uninterrupted

TRAINER: dict[str, Any] = {
    "max_epochs": 5,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


def trained(
    module: FineTuning,
    data: ImageDataModule,
    run: Run,
    name: str,
    root: Path,
    flags: dict[str, Any],
) -> Path:
    """Trains, takes the weights of the epoch that the module monitors, and returns the folder.

    Args:
        module: its classifier is trained in place.
        data: what it is trained and validated on.
        run: gets the curves.
        name: of the folder below `mlruns/checkpoints`, which also gets the date.
        root: folder that holds `mlruns/`.
        flags: of the Trainer.

    Raises:
        DivergedError: the loss is no number; the last good epoch is saved and named.
        KeyboardInterrupt: it was interrupted.
    """
    folder = root / "mlruns" / "checkpoints" / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    monitor = getattr(module, "monitor", "val/acc")
    best = ModelCheckpoint(folder, "best", monitor=monitor, mode="max", save_last=True)
    average = [weight_average(module.tuning.ema)] if module.tuning.ema else []
    flags = {**TRAINER, **flags, "logger": RunLogger(run)}
    own = flags.pop("callbacks", None) or []
    trainer = made_trainer(flags, [best, *average, *own])
    try:
        if not uninterrupted(trainer, lambda: trainer.fit(module, data)):
            raise KeyboardInterrupt
    except DivergedError as error:
        raise DivergedError(f"{error} {_rescued(module, best, folder)}") from error
    _restore(module, best)
    return folder


def _rescued(module: FineTuning, best: ModelCheckpoint, folder: Path) -> str:
    """Saves the last good epoch after a training that diverged, and says where."""
    if not _restore(module, best):
        return "No epoch was finished, so there is no good checkpoint."
    return f"The best epoch before is kept in {str(save_classifier(module.classifier, folder))!r}."


def _restore(module: FineTuning, best: ModelCheckpoint) -> bool:
    if not best.best_model_path:
        return False
    state = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    return True
