"""Pipelines: what a user runs, each readable from top to bottom.

`from pipelines import evaluate, fine_tune, recover, transfer, distill, explain, report` are the
commands as typed functions; nothing heavy is imported before the first of them is asked for.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.distill.command import distill
    from pipelines.evaluate.command import evaluate
    from pipelines.explain.command import explain
    from pipelines.fine_tune.command import fine_tune
    from pipelines.recover.command import recover
    from pipelines.report.command import report
    from pipelines.transfer.command import transfer

__all__ = ["distill", "evaluate", "explain", "fine_tune", "recover", "report", "transfer"]


class _Commands(ModuleType):
    """Gives the function where room and function share a name.

    Importing the room `pipelines.evaluate` would otherwise bind its name here to the folder.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        from pipelines.cli import other_project

        if problem := other_project():
            raise ImportError(problem)
        command = getattr(importlib.import_module(f"pipelines.{name}.command"), name)
        self.__dict__[name] = command
        return command

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in __all__ or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Commands
