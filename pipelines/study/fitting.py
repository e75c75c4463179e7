"""What `fine-tune` and `distill` let the user say of a training besides its recipe."""

import hashlib
import traceback
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping as Stopping

from callbacks.digests import callable_digest
from datamodules.errors import UserError
from lightning_modules import FineTuning, Tuning
from lightning_modules.own_optimization import OwnOptimization


@dataclass(frozen=True)
class EarlyStopping:
    """When a training ends before its last epoch.

    Args:
        patience: epochs without a better number after which it ends; 0 for never.
        monitor: the number, e.g. val/loss, which is to fall, or val/acc, to rise; default: the one
            that chooses the epoch to keep.
        min_delta: by how much a better number must be better.
    """

    patience: int = 0
    monitor: str | None = None
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        """Refuses values that make no sense."""
        if self.patience < 0 or self.min_delta < 0:
            raise UserError(
                "Expected `early_stopping.patience` and `min_delta` of at least 0, but got "
                f"{self.patience} and {self.min_delta:g}."
            )
        if not self.patience and (self.monitor or self.min_delta):
            raise UserError("Expected `early_stopping.patience` beside its other options.")

    def callbacks(self, monitor: str) -> list[L.Callback]:
        """Lightning's callback, if the training may end early."""
        if not self.patience:
            return []
        watched = self.monitor or monitor
        mode = "min" if watched.endswith("loss") else "max"
        return [Stopping(watched, self.min_delta, self.patience, mode=mode)]


@dataclass(frozen=True)
class Checkpoint:
    """When a training is written to disk, so that it can go on.

    Args:
        every_n_steps: steps of the optimizer between two checkpoints inside an epoch; 0 keeps the
            end of every epoch only.
    """

    every_n_steps: int = 0

    def __post_init__(self) -> None:
        """Refuses what is no number of steps."""
        if self.every_n_steps < 0:
            raise UserError(
                f"Expected `checkpoint.every_n_steps` of at least 0, but got {self.every_n_steps}."
            )


@dataclass(frozen=True)
class Fitting:
    """What the user says of a training besides its recipe, together.

    Args:
        optimization: optimizer and schedule in place of the recipe's.
        lr_find: whether the learning rate is looked for.
        early_stopping: when it ends before its last epoch.
        checkpoint: when it is written to disk.
        ckpt_path: the checkpoint that it begins with; "last": it must have been begun before.
    """

    optimization: OwnOptimization = field(default_factory=OwnOptimization)
    lr_find: bool = False
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    ckpt_path: str | None = None

    def __post_init__(self) -> None:
        """Refuses a checkpoint that is not there."""
        if self.file is not None and not self.file.is_file():
            raise UserError(
                f"Expected `ckpt_path` to be a checkpoint, such as the last.ckpt of a training in "
                f"mlruns/checkpoints, or last, but there is no file {str(self.file)!r}."
            )

    @property
    def file(self) -> Path | None:
        """The checkpoint of another training."""
        named = self.ckpt_path not in (None, "last")
        return Path(str(self.ckpt_path)).expanduser() if named else None

    def fit_to(self, module: FineTuning) -> None:
        """Gives a module the user's optimizer and schedule.

        Raises:
            UserError: it is a training that steps by itself, and they would step it.
        """
        own = self.optimization.scheduler is not None
        if not module.automatic_optimization and (own or self.lr_find):
            flag = "--scheduler" if own else "--lr_find"
            raise UserError(f"Got {flag} with free training, which steps by itself: leave it out.")
        module.optimization = self.optimization

    def tuned(self, tuning: Tuning) -> Tuning:
        """The recipe beside it; refuses what is said twice."""
        if self.lr_find and tuning.lr is not None:
            raise UserError("Got `tuning.lr` with --lr_find, which looks for it: leave one out.")
        return self.optimization.tuned(tuning)

    def facts(self) -> dict[str, Any]:
        """What of it decides the weights; nothing where nothing is said."""
        facts: dict[str, Any] = self.optimization.told()
        if self.early_stopping.patience:
            facts["early_stopping"] = repr(self.early_stopping)
        if self.file is not None:
            facts["ckpt_path"] = hashlib.sha256(self.file.read_bytes()).hexdigest()
        return facts

    def key(self) -> dict[str, Any]:
        """What of it decides the weights, told apart where two functions have one name."""
        own = self.optimization
        code = {f"{name}_code": callable_digest(getattr(own, name)) for name in own.told()}
        return {**self.facts(), **code}


def stepping_failed(error: Exception) -> bool:
    """Whether the user's optimizer, schedule or early stopping is what failed in a training."""
    if "conditioned on metric" in str(error):  # which is not logged; Lightning names those that are
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    place = Path(frames[-1][0].f_code.co_filename).parts if frames else ()
    return ("torch", "optim") in pairwise(place)
