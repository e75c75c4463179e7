"""The Trainer's flags as a training takes them: what they decide, and what it cannot follow."""

import re
from collections.abc import Collection, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from lightning.pytorch.plugins import CheckpointIO

from callbacks.digests import callable_digest
from datamodules.errors import UserError
from lightning_modules.trainer import device_flags
from pipelines.study.resumption import WholeFiles

TRAINER: dict[str, Any] = {
    "max_epochs": 5,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
_IDLE = ("logger", "profiler", "enable_progress_bar", "enable_model_summary")
"""Flags of the Trainer that decide no weights."""
OF_TRAININGS = (
    "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches",
    "limit_val_batches", "limit_predict_batches", "overfit_batches", "val_check_interval",
    "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps", "enable_checkpointing",
    "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "sync_batchnorm",
    "reload_dataloaders_every_n_epochs",
)  # fmt: skip
"""Flags of the Trainer that nothing heeds where nothing is trained."""
_NEVER = {
    "limit_test_batches": "say --data.limit for fewer images",
    "limit_predict_batches": "nothing is predicted apart from what is measured",
    "barebones": "it is for taking the time of a loop, and keeps nothing",
}
"""Flags of the Trainer that no training can follow, and why."""
_OWN = {
    "logger": "numbers are logged by --tracking",
    "use_distributed_sampler": "the images are dealt out without one twice",
}
"""Flags of the Trainer that a pass over the test images sets itself, and why."""
_SO = (("enable_progress_bar", False), ("enable_model_summary", False), ("precision", "32-true"))
"""What is so in any case where no Trainer runs."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def deciding(flags: Mapping[str, Any]) -> dict[str, str]:
    """The Trainer's flags in words that are the same for the same command, for keys.

    Loggers and the like decide no weights; of callbacks and other objects the class and what it
    holds count, not where they lie in memory.
    """
    kept = {name: value for name, value in flags.items() if name not in _IDLE}
    return {name: _in_words(value) for name, value in sorted(kept.items())}


def check_flags(flags: Mapping[str, Any], evaluated: bool) -> None:
    """Refuses flags of the Trainer that a training which keeps its best epoch cannot follow.

    Args:
        flags: of the user.
        evaluated: whether an evaluation follows, which would refuse them after the training.

    Raises:
        UserError: checkpoints are switched off, images are to be rounded, or a flag is of no
            training.
    """
    check_possible(flags)
    precision = str(flags.get("precision", "32-true"))
    if evaluated and precision in ("bf16-true", "16-true", "transformer-engine"):
        raise UserError(
            f"Got --trainer.precision {precision}, which rounds the images themselves, so that no "
            "evaluation can follow: say bf16-mixed, or fine-tune with --evaluation none."
        )
    if flags.get("enable_checkpointing") is False:
        raise UserError(
            "Got --trainer.enable_checkpointing false, but the best epoch is kept as a checkpoint "
            "and the training goes on from the last one: leave it out."
        )


def check_untrained(flags: Mapping[str, Any], room: str, usual: Mapping[str, Any]) -> None:
    """Refuses flags of the Trainer that belong to trainings.

    Args:
        flags: of the user.
        room: the command, which trains nothing.
        usual: flags that the command itself sets.

    Raises:
        UserError: one would do nothing.
    """
    if idle := [name for name in OF_TRAININGS if name in flags and flags[name] != usual.get(name)]:
        raise UserError(f"Got `trainer.{idle[0]}`, but `{room}` trains nothing: leave it out.")
    for name, why in _OWN.items():
        if name in flags and flags[name] != usual.get(name):
            raise UserError(f"Got `trainer.{name}`, but {why}: leave it out.")


def check_possible(flags: Mapping[str, Any]) -> None:
    """Refuses flags of the Trainer that are of no training at all.

    Raises:
        UserError: there is one.
    """
    for name, why in _NEVER.items():
        if name in flags:
            raise UserError(f"Got `trainer.{name}`, which no training can follow: {why}.")
    if isinstance(flags.get("logger"), bool):
        raise UserError(
            f"Got `trainer.logger` {str(flags['logger']).lower()}, but what is logged is said by "
            "--tracking: leave it out, or name a logger, e.g. lightning.pytorch.loggers.CSVLogger."
        )


def check_where(flags: Mapping[str, Any], why: str, and_also: Collection[str] = ()) -> None:
    """Refuses flags of the Trainer that do not say where to compute.

    Args:
        flags: of the user.
        why: they would do nothing, in a sentence.
        and_also: other flags that are let through.

    Raises:
        UserError: one would do nothing.
    """
    heeded = ({*device_flags(dict(flags))} - {"precision"}) | {*and_also}
    idle = [name for name, value in flags.items() if name not in heeded]
    if idle := [name for name in idle if (name, flags[name]) not in _SO]:
        raise UserError(f"Got `trainer.{idle[0]}`, but {why}: leave it out.")


def listed(value: Any) -> list[Any]:
    """The loggers or plugins of a flag: none, one or several."""
    several = value if isinstance(value, list | tuple) else [value]
    return [one for one in several if one not in (None, True, False)]


def plugins(flags: Mapping[str, Any]) -> list[Any]:
    """The user's plugins, and one that writes whole files unless theirs write checkpoints."""
    users = listed(flags.get("plugins"))
    own = [] if any(isinstance(one, CheckpointIO) for one in users) else [WholeFiles()]
    return [*users, *own]


def _in_words(value: Any, depth: int = 3) -> str:
    """A value, an object by its class and attributes down to some depth, and those of these."""
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_in_words(one, depth) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k!r}: {_in_words(v, depth)}' for k, v in value.items())}}}"
    if isinstance(value, FunctionType | MethodType | partial):
        return callable_digest(value)
    if type(value).__repr__ is not object.__repr__ or not depth:
        return _ADDRESS.sub("", repr(value))
    own = {name: _in_words(one, depth - 1) for name, one in vars(value).items()}
    return f"{type(value).__qualname__}({own})"
