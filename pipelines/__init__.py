"""Pipelines: what a user runs, each readable from top to bottom.

`from pipelines import assess, audit, evaluate, fine_tune, recover, transfer, distill, federate,
explain, report, compare, gate` are the commands as functions, typed in `__init__.pyi`; nothing
heavy is imported before the first of them is asked for.
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

_COMMANDS = (
    "assess",
    "audit",
    "compare",
    "distill",
    "evaluate",
    "explain",
    "federate",
    "fine_tune",
    "gate",
    "recover",
    "report",
    "transfer",
)


class _Commands(ModuleType):
    """Gives the function where room and function share a name.

    Importing the room `pipelines.evaluate` would otherwise bind its name here to the folder.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _COMMANDS:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        from pipelines.cli import other_project

        if problem := other_project():
            raise ImportError(problem)
        command = getattr(importlib.import_module(f"pipelines.{name}.command"), name)
        self.__dict__[name] = command
        return command

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _COMMANDS or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


def _settle() -> None:
    """Gives a process without a home (a container started for an unknown user) one.

    MLflow asks for it when it is imported, and other packages later.
    """
    try:
        Path.home()
    except RuntimeError:
        number = os.getuid() if hasattr(os, "getuid") else 0
        os.environ["HOME"] = str(Path(tempfile.gettempdir()) / f"assay-{number}")


_settle()
sys.modules[__name__].__class__ = _Commands
