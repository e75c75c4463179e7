"""What a command is computed with: its options, checked, and the Trainer's device."""

import inspect
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_only

from datamodules import ImageDataModule
from datamodules.disk import check_writable
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier
from lightning_modules.answer_rule import Scale
from lightning_modules.input_contract import InputContract
from lightning_modules.trainer import made_trainer
from pipelines.study.arguments import typed_command
from pipelines.study.cells import Cells
from pipelines.study.options import DEFAULTS, Options
from pipelines.tracking import Parent, Tracking

_SECONDS_A_LINE = 2.0
"""Between two lines of progress: what is quick needs none."""


class Setup:
    """The options of a command and what follows from them.

    Args:
        room: of the question: `evaluate`, `recover`, ...; first part of the run's name.
        question: tag of its runs.
        options: of the user.
        trainer: flags of the Trainer, where they differ from Lightning's.

    Raises:
        UserError: there is no such option, the Trainer refuses its flags, or the root cannot be
            written.
    """

    def __init__(
        self, room: str, question: str, options: Options, trainer: Mapping[str, Any] | None = None
    ) -> None:
        if unknown := [name for name in options if name not in DEFAULTS]:
            hint = suggestion(unknown[0], DEFAULTS)
            raise UserError(f"`{room}` has no option {unknown[0]!r}.{hint}")
        chosen: dict[str, Any] = {**DEFAULTS, **options}
        self.room, self.question = room, question
        given: str | list[str] | None = chosen["arch"]
        self.archs = [given] if isinstance(given, str) else list(given or ())
        self.trust_pickle: bool = chosen["trust_pickle"]
        shown = ("mean", "std", "resize", "crop", "channels")
        self.said = InputContract(**{name: chosen[name] for name in shown})
        self.classes: list[str] | None = chosen["classes"]
        self.answers: Scale | None = chosen["answers"]
        self.weights: str | None = chosen["weights"]
        self.seed: int = chosen["seed"]
        self.chunk: int = chosen["chunk"]
        self.fresh: bool = chosen["fresh"]
        self.tracking: Tracking = chosen["tracking"]
        self.config: str = chosen["config"]
        self.parent: Parent | None = chosen["parent"]
        self.root = Path(chosen["root"]).resolve()
        self.flags = {**(trainer or {}), **_chosen_flags(chosen["trainer"] or {}, trainer or {})}
        self.command = typed_command()
        self.notes: list[str] = []
        self.cells = Cells(self.root / "mlruns" / "cells", self.fresh)
        self._begun = time.perf_counter()
        self._told: set[str] = set()
        self._said_at = 0.0
        self.models: list[Classifier] = []
        self.data: list[ImageDataModule] = []
        self._trainer = self._checked_trainer()
        if self.is_first:
            check_writable(self.root / "mlruns")
        L.seed_everything(self.seed, verbose=False)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self._trainer.strategy.root_device

    @property
    def precision(self) -> str:
        """Of the Trainer."""
        return str(self._trainer.precision)

    @property
    def computed_on(self) -> dict[str, Any]:
        """What of machine and build may change a number in its last digits, for keys of cells."""
        cpu = self.device.type == "cpu"
        return {
            "device": "cpu" if cpu else torch.cuda.get_device_name(self.device),
            "threads": torch.get_num_threads() if cpu else None,
            "precision": self.precision,
            "chunk": self.chunk,
            "torch": torch.__version__,
        }

    @property
    def is_first(self) -> bool:
        """Whether this process tells and logs; the Trainer decides, not the environment."""
        return not getattr(rank_zero_only, "rank", 0)

    def on_one_device(self, why: str) -> None:
        """Refuses several devices.

        Args:
            why: a sentence for the user.

        Raises:
            UserError: the Trainer's flags choose several.
        """
        if self._trainer.world_size > 1:
            flag = "num_nodes" if self._trainer.num_nodes > 1 else "devices"
            raise UserError(f"Expected `trainer.{flag}` 1: {why}")

    def trainer(self, callbacks: list[L.Callback], **flags: Any) -> L.Trainer:
        """A Trainer of the user's flags.

        Args:
            callbacks: ours, before the user's.
            **flags: defaults, which the user's flags override, but for `logger`.
        """
        logger = {"logger": flags.pop("logger", False)}
        return made_trainer({**flags, **self.flags, **logger}, callbacks)

    def say(self, text: str) -> None:
        """Prints a line of the command line, once; a notebook gets its result and nothing else."""
        if self.config and self.is_first:
            print(text, flush=True)

    def say_progress(self, text: str, last: bool = False) -> None:
        """Prints a line about one of many pieces of work, where the one before is some time ago.

        Args:
            text: the line.
            last: print it in any case.
        """
        now = time.monotonic()
        if last or now - self._said_at >= _SECONDS_A_LINE:
            self._said_at = now
            self.say(text)

    def _checked_trainer(self) -> L.Trainer:
        """A Trainer of the flags; a single process is rank 0 whatever its environment says."""
        flags = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = made_trainer({**self.flags, **flags, "callbacks": None}, [])
        if trainer.world_size == 1:
            rank_zero_only.rank = 0  # pyright: ignore[reportFunctionMemberAccess]
        return trainer


def _chosen_flags(flags: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out Lightning's defaults, which the command line fills in where ours says nothing.

    They would override what a stage asks of its Trainer, and the keys of cells would tell a command
    from the same call in Python.
    """
    usual = inspect.signature(L.Trainer).parameters
    chosen = {name: value for name, value in flags.items() if value is not None}
    return {k: v for k, v in chosen.items() if k not in usual or k in own or v != usual[k].default}
