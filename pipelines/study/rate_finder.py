"""The learning rate that a short trial finds: Lightning's finder (Smith 2017, 1506.01186)."""

import copy
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from lightning.pytorch.tuner.tuning import Tuner

from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import FineTuning
from lightning_modules.own_optimization import OwnOptimization
from lightning_modules.progress import random_state, set_random_state
from lightning_modules.trainer import made_trainer

STEPS = 100
"""Of the trial, from a rate of 1e-8 to 1; Lightning's own numbers."""
_KEPT = ("accelerator", "devices", "precision", "gradient_clip_val", "gradient_clip_algorithm")


def found_rate(
    module: FineTuning, data: ImageDataModule, flags: Mapping[str, Any], folder: Path
) -> float:
    """The rate at which the loss falls fastest, of a copy: neither module nor data change.

    Args:
        module: as its training would begin.
        data: of the training.
        flags: of the Trainer.
        folder: for the checkpoint that the finder writes and removes.

    Raises:
        UserError: no rate stands out.
    """
    trial, served = copy.deepcopy(module), copy.copy(data)
    trial._check = lambda _: None  # type: ignore[method-assign]  # large rates diverge on purpose
    quiet = {
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "num_sanity_val_steps": 0, "max_epochs": -1,
        "max_steps": STEPS, "default_root_dir": folder,
    }  # fmt: skip
    chosen = {name: flags[name] for name in _KEPT if name in flags}
    trainer = made_trainer({**chosen, **quiet}, [])
    device = trainer.strategy.root_device
    before = random_state(device)
    try:
        with redirect_stderr(StringIO()):  # a progress bar that cannot be switched off
            finder = Tuner(trainer).lr_find(
                trial, datamodule=served, num_training=STEPS, update_attr=False
            )
    finally:
        set_random_state(before, device)
    rate = None if finder is None else finder.suggestion()
    if rate is None:
        raise UserError("--lr_find found no rate at which the loss falls: give --tuning.lr.")
    return float(rate)


def with_rate(module: FineTuning, rate: float) -> None:
    """Gives a module's optimizer another rate."""
    own = module.optimization
    if own.optimizer is None:
        module.tuning = replace(module.tuning, lr=rate)
    else:
        rated: Any = partial(own.optimizer, lr=rate)  # type: ignore[call-arg]
        module.optimization = OwnOptimization(rated, own.scheduler)
