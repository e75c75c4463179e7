"""A bar that names probe and setting and gives the time left."""

import sys
import time
from typing import Protocol

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from callbacks.measurement import Setting

_SECONDS_A_LINE = 2.0
"""Between two lines of an output that is no terminal: what is quick needs none."""


class Planned(Protocol):
    """What the progress must know of a probe."""

    @property
    def name(self) -> str:
        """See `Probe.name`."""
        ...

    def settings(self) -> tuple[Setting, ...]:
        """See `Probe.settings`."""
        ...

    def cost(self, setting: Setting) -> float:
        """See `Probe.cost`."""
        ...


class EvaluationProgress(L.Callback):
    """Adds up the predicted cost of all probes and shows how much of it is done.

    Without a terminal it prints a line now and then, when a setting with all its random draws is
    finished. Only rank 0 shows anything, and what it shows is its own share.

    Args:
        enabled: False is silent.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._left: dict[tuple[str, str], int] = {}
        self._told = time.monotonic()
        self._bar: Progress | None = None

    @classmethod
    def of(cls, trainer: L.Trainer) -> "EvaluationProgress":
        """Returns the trainer's progress, or a silent one."""
        callbacks = getattr(trainer, "callbacks", [])
        return next(
            (callback for callback in callbacks if isinstance(callback, cls)), cls(enabled=False)
        )

    def plan(self, probe: Planned, n: int) -> None:
        """Announces that `n` samples will be measured under every setting of a probe."""
        for setting in probe.settings():
            key = probe.name, str(setting)
            self._left[key] = self._left.get(key, 0) + n
        if self.enabled:
            cost = sum(n * probe.cost(setting) for setting in probe.settings())
            bar = self._started()
            bar.update(self._task, total=(bar.tasks[0].total or 0) + cost)

    def show(self, probe: Planned, setting: Setting) -> None:
        """Names what is being measured now."""
        if self._bar:
            self._bar.update(self._task, description=str(setting))

    def advance(self, probe: Planned, setting: Setting, n: int) -> None:
        """Counts `n` samples as measured."""
        key = probe.name, str(setting)
        self._left[key] = self._left.get(key, 0) - n
        if self._bar:
            self._bar.update(self._task, advance=n * probe.cost(setting))
            if not self._bar.console.is_terminal and self._left[key] <= 0:
                self._tell(setting)

    def _tell(self, setting: Setting) -> None:
        """Prints a line, where the last one is some time ago."""
        now = time.monotonic()
        if self._bar and now - self._told >= _SECONDS_A_LINE:
            done = sum(left <= 0 for left in self._left.values())
            self._bar.console.print(f"measured {setting} ({done} of {len(self._left)})")
            self._told = now

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Takes the bar away, also after an exception."""
        if self._bar:
            self._bar.stop()
            self._bar = None

    def _started(self) -> Progress:
        if self._bar is None:
            columns = (
                TextColumn("{task.description:<24}"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            console = Console(file=sys.stderr)
            self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
            self._task = self._bar.add_task("clean", total=0)
            self._bar.start()
        return self._bar
