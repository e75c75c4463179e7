"""Lightning's Trainer as the pipelines use it."""

import logging
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException

from datamodules.errors import UserError

_DEVICE_FLAGS = (
    "accelerator", "strategy", "devices", "num_nodes", "precision", "deterministic", "benchmark",
)  # fmt: skip


def made_trainer(flags: dict[str, Any], own: list[L.Callback]) -> L.Trainer:
    """Makes a Trainer of flags, with the user's callbacks behind ours.

    Args:
        flags: of the Trainer.
        own: the pipeline's callbacks.

    Raises:
        UserError: the Trainer refuses a flag, for instance more devices than there are.
    """
    _quiet()
    flags = {name: value for name, value in flags.items() if value is not None}
    users = flags.pop("callbacks", None) or []
    try:
        trainer = L.Trainer(**flags, callbacks=[*own, *users])
        _check_devices(trainer)
        return trainer
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        # RuntimeError: what SLURM was told contradicts them.
        raise UserError(f"The Trainer refuses its flags: {str(error).strip()}") from error


def device_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Returns the flags that say where and how to compute, for training and evaluation alike."""
    return {name: value for name, value in flags.items() if name in _DEVICE_FLAGS}


def uninterrupted(trainer: L.Trainer, work: Callable[[], Any]) -> bool:
    """Runs the Trainer and returns False after Ctrl-C, which Lightning turns into an exit.

    A loader's worker that SIGTERM has ended says the same: the signal went to the whole job.
    """
    try:
        work()
    except (SystemExit, KeyboardInterrupt):
        if not trainer.interrupted:
            raise
        return False
    except RuntimeError as error:
        if not worker_terminated(error):
            raise
        return False
    return True


def worker_terminated(error: RuntimeError) -> bool:
    """Whether a loader complains that somebody has sent its worker SIGTERM."""
    return f"killed by signal: {signal.strsignal(signal.SIGTERM)}" in str(error)


def _quiet() -> None:
    """Keeps what a user cannot act on off the terminal; other warnings still come through."""
    # Lightning advertises services and repeats what it was told.
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",  # torch 2.15 deprecates what lightning 2.6 still calls
        ".*number of training batches.*",  # small data sets log by the epoch anyway
        ".*does not have many workers.*",  # data in memory needs none
        ".*have no `validation_step`.*",  # a recovery measures its own curve
        ".*was called before the ``update`` method.*",  # a probe that was interrupted before a row
        ".*Checkpoint directory .* exists and is not empty.*",  # a training that goes on
        ".*in eval mode at the start of training.*",  # the frozen part of a linear probe
    ):
        warnings.filterwarnings("ignore", message)


def _check_devices(trainer: L.Trainer) -> None:
    """Refuses more CPU processes than cores, which Lightning would start."""
    cores = os.cpu_count() or 1
    if trainer.accelerator.__class__.__name__ == "CPUAccelerator" and trainer.num_devices > cores:
        raise UserError(
            f"Expected `trainer.devices` of at most {cores} on this machine, but got "
            f"{trainer.num_devices}."
        )
