"""Which engine measures cells, and how many workers."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch

from datamodules.errors import UserError

_ONLY_OF = {"address": "ray", "cluster": "submitit"}


@dataclass(frozen=True)
class Engine:
    """Cells are measured by workers; this process then reads them, and makes the same tables.

    Args:
        kind: none measures one cell after the other in this process.
        workers: processes that measure, each one cell at a time.
        threads: of each worker, which are part of a cell's key; default: the cores of this machine
            shared out among workers that run on it, else as many as this process has.
        address: of a Ray cluster that is running, or auto; default: one of this machine alone.
        cluster: where submitit starts its jobs.
        parameters: of submitit's executor, e.g. timeout_min, slurm_partition; for ray options of
            its actors, e.g. num_gpus.
    """

    kind: Literal["none", "ray", "submitit"] = "none"
    workers: int = 2
    threads: int | None = None
    address: str | None = None
    cluster: Literal["slurm", "local"] = "slurm"
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses numbers that are none, what nothing would heed, and an engine that is missing."""
        for name in ("workers", "threads"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise UserError(f"Expected `engine.{name}` to be at least 1, but got {number}.")
        for name in self._given():
            if self.kind == "none":
                raise UserError(
                    f"Got `engine.{name}` without an engine: add --engine.kind ray or submitit."
                )
            if _ONLY_OF.get(name, self.kind) != self.kind:
                raise UserError(
                    f"`engine.{name}` is of `engine.kind` {_ONLY_OF[name]}, but got {self.kind}: "
                    "leave it out."
                )
        if self.kind != "none" and importlib.util.find_spec(self.kind) is None:
            raise UserError(
                f"`engine.kind` {self.kind} needs a package that is not installed: "
                f'pip install "assay[{self.kind}]".'
            )

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the workers share the cores of this machine."""
        alone = {"none": True, "ray": self.address is None, "submitit": self.cluster == "local"}
        return alone[self.kind]

    @property
    def title(self) -> str:
        """`Ray`, `submitit (slurm)`."""
        return "Ray" if self.kind == "ray" else f"submitit ({self.cluster})"

    @contextmanager
    def sharing_cores(self) -> Iterator[None]:
        """This process computes with as many threads as each worker: their number is in the keys.

        A sum by two threads may differ in its last digit from one by one thread.
        """
        before = torch.get_num_threads()
        if self.kind != "none":
            torch.set_num_threads(self.threads or self._share(before))
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _share(self, threads: int) -> int:
        """Of the cores, but never more than this process has."""
        if not self.is_on_this_machine:
            return threads
        return min(threads, max(1, (os.cpu_count() or 1) // self.workers))

    def _given(self) -> list[str]:
        """Options besides the kind that differ from their defaults."""
        return [
            option.name
            for option in fields(self)
            if option.name != "kind" and getattr(self, option.name) not in (option.default, {})
        ]
