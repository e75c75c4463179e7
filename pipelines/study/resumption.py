"""A training that was stopped goes on: what is kept of it, and how it is put back."""

import os
import shutil
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lightning_modules import FineTuning
from lightning_modules.progress import random_state, set_random_state
from pipelines.tracking.logger import RunLogger

BEST, LAST = "best.ckpt", "last.ckpt"
_KEY = "assay_progress"


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it: it is there whole or not at all.

    Lightning's own way moves a file out of the system's folder for temporary ones, which copies it
    where that is another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes the file."""
        unfinished = f"{path}.part"
        super().save_checkpoint(checkpoint, unfinished, storage_options)
        os.replace(unfinished, path)


class Resumption(Checkpoint):
    """Keeps the last epoch, and every n-th step, so that the training goes on bit for bit on a CPU.

    Lightning keeps weights, optimizer, schedule, counters, its callbacks and the place in the
    epoch. This adds each process's random numbers, those of the augmentation, what the disturbance
    of images counts, the sums of the epoch's metrics, that the training was to end, and the curve.

    Args:
        folder: of `last.ckpt`.
        best: chooses the epoch; what it has chosen is told by its own file, which may be newer.
        logger: whose curve goes on.
        every_n_steps: optimizer steps between two checkpoints inside an epoch; 0 for none.
    """

    def __init__(
        self, folder: Path, best: ModelCheckpoint, logger: RunLogger, every_n_steps: int = 0
    ) -> None:
        self.file, self.best, self.logger = folder / LAST, best, logger
        self.every_n_steps, self._saved_at = every_n_steps, 0
        self._kept: dict[str, Any] | None = None
        self._epoch_ends = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Keeps every n-th step, once where several batches make a step.

        Not the epoch's last one: it is kept with its validation, which Lightning would leave out.
        """
        step = trainer.global_step
        due = self.every_n_steps and step >= self._saved_at + self.every_n_steps
        if due and not trainer.is_last_batch:
            self._saved_at = step
            trainer.save_checkpoint(self.file, weights_only=False)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keeps the epoch; Lightning calls this after the best one was chosen."""
        self._saved_at, self._epoch_ends = trainer.global_step, True
        trainer.save_checkpoint(self.file, weights_only=False)
        self._epoch_ends = False

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the progress of all processes."""
        assert isinstance(pl_module, FineTuning)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        device = trainer.strategy.root_device
        progress = pl_module.progress()
        if self._epoch_ends:  # the next one begins its sums anew
            progress["metrics"] = {}
        own = {
            "random": random_state(device),
            "augmentation": data.augmentation_state,
            "module": progress,
        }
        loader: Any = trainer.train_dataloader
        measured = {k: float(v) for k, v in trainer.callback_metrics.items()}
        checkpoint[_KEY] = {
            "processes": _gathered(own, trainer.world_size),
            "order": loader.state_dict(),
            "should_stop": trainer.should_stop,
            "measured": measured if self._epoch_ends else {},
            "points": [*self.logger.points, *self._coming(trainer, measured)],
        }

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the curve and the best epoch; keeps the rest until nothing else draws numbers."""
        self._kept = checkpoint.get(_KEY)
        if self._kept is not None:
            self.logger.go_on(self._kept["points"])
        if (chosen := self._chosen(Path(str(trainer.ckpt_path)))) is not None:
            checkpoint["callbacks"][self.best.state_key] = chosen

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Puts everything back."""
        self._saved_at = trainer.global_step
        if self._kept is None:
            return
        assert isinstance(pl_module, FineTuning)
        # Lightning would set it too, but not where a schedule has asked for the number of steps.
        loader: Any = trainer.train_dataloader
        loader.load_state_dict(self._kept["order"])
        trainer.should_stop = self._kept["should_stop"]
        _step_plateaus(trainer, self._kept["measured"])
        if len(self._kept["processes"]) == trainer.world_size:
            own = self._kept["processes"][trainer.global_rank]
            device = trainer.strategy.root_device
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            data.resume_augmentation(own["augmentation"], device)
            pl_module.go_on(own["module"])
            set_random_state(own["random"], device)

    def _chosen(self, begun: Path) -> dict[str, Any] | None:
        """What the best epoch's own file says of it, or that beside another training's checkpoint.

        A training may be killed between the best and the last checkpoint of an epoch.
        """
        own = self.file.with_name(BEST)
        if not own.is_file() and begun.with_name(BEST).is_file():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(begun.with_name(BEST), own)
        if not own.is_file():
            return None
        kept = torch.load(own, map_location="cpu", weights_only=True)["callbacks"]
        state = kept.get(self.best.state_key)
        here = {"dirpath": str(own.parent), "best_model_path": str(own)}
        scores = {"kth_best_model_path": str(own), "best_k_models": {str(own): self._score(state)}}
        return state and {**state, **here, **scores}

    @staticmethod
    def _score(state: dict[str, Any] | None) -> Any:
        return state and state["best_model_score"]

    def _coming(
        self, trainer: L.Trainer, measured: dict[str, float]
    ) -> list[tuple[str, float, int]]:
        """The epoch's mean losses, which Lightning logs after its checkpoint and not again."""
        if not self._epoch_ends:
            return []
        step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1
        return [(k, v, step) for k, v in measured.items() if k.startswith("train/")]


def _step_plateaus(trainer: L.Trainer, measured: dict[str, float]) -> None:
    """Steps the schedules that look at a metric: Lightning does so after the epoch's checkpoint."""
    for config in trainer.lr_scheduler_configs:
        due = config.interval == "epoch" and trainer.current_epoch % config.frequency == 0
        if config.reduce_on_plateau and due and config.monitor in measured:
            config.scheduler.step(measured[config.monitor])  # type: ignore[call-arg]


def _gathered(own: dict[str, Any], processes: int) -> list[dict[str, Any]]:
    """The progress of every process, by rank."""
    if processes == 1:
        return [own]
    every: list[Any] = [None] * processes
    torch.distributed.all_gather_object(every, own)
    return every
