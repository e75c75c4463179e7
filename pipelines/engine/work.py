"""What a worker does: opens a command as its user typed it, and measures single cells of it."""

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import cloudpickle

from pipelines.study import Study

TRIES = 3
"""Of a unit, each of which loses its worker; then a cell of it is what workers are lost of."""


class Unit(NamedTuple):
    """What one worker measures in one go.

    Args:
        number: by which the command knows it.
        name: for the terminal.
        keys: of the cells that it stores, in their order.
    """

    number: int
    name: str
    keys: Sequence[str]


class Bench(Protocol):
    """A command whose models and data are open."""

    @property
    def study(self) -> Study:
        """Its cells are what is filled."""
        ...

    def units(self) -> list[Unit]:
        """Cells that are not there yet, those first on which others wait."""
        ...

    def measure(self, number: int) -> None:
        """Measures the cells of a unit and stores them."""
        ...


@dataclass(frozen=True)
class Done:
    """What a worker says of a unit.

    Args:
        number: of the unit.
        measured: keys of the cells that it stored.
        errors: why others could not be measured, by key.
        problem: what went wrong outside of any cell.
    """

    number: int
    measured: Sequence[str] = ()
    errors: Mapping[str, Exception] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Order:
    """What every worker is told once.

    Args:
        asked: pickled: a function of a module that opens the command, and its arguments.
        threads: of each worker.
        folder: that the command was started in.
        command: as it was typed.
        results: folder of the command's result.
        run_id: of the command's run.
    """

    asked: bytes
    threads: int
    folder: str
    command: str
    results: Path
    run_id: str | None


class WorkerTraceback(Exception):  # noqa: N818  (the cause of one, never raised alone)
    """Where in a worker an error happened, as text: a traceback cannot be sent."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """As pickle wants it."""
        return type(self), (str(self),)


_benches: dict[Path, Bench] = {}


def measure(order: Path, number: int) -> Done:
    """Measures a unit in this process, which opens the command the first time only.

    Args:
        order: file of a pickled `Order`.
        number: of the unit.
    """
    try:
        if order not in _benches:
            _benches[order] = _opened(order)
        bench = _benches[order]
    except Exception as error:
        return Done(number, problem=_told(error))
    with _tries_of(order, number).open("a") as file:
        file.write("|")
    cells = bench.study.cells
    cells.errors.clear()
    before, problem = set(cells.mine), ""
    try:
        bench.measure(number)
    except Exception as error:
        problem = "" if cells.errors else _told(error)
    errors = {key: _sendable(error) for key, error in cells.errors.items()}
    return Done(number, sorted(cells.mine - before), errors, problem)


def tries(order: Path, number: int) -> int:
    """How many workers have begun with a unit; what ends before that is no matter of the unit."""
    file = _tries_of(order, number)
    return file.stat().st_size if file.exists() else 0


def python_path() -> str:
    """Where workers find this checkout: before whatever is installed."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(path for path in paths if path))


def _tries_of(order: Path, number: int) -> Path:
    return order.parent / f"{number}.tries"


def _opened(file: Path) -> Bench:
    import torch

    order: Order = cloudpickle.loads(file.read_bytes())
    os.chdir(order.folder)  # where relative paths of the command line begin
    torch.set_num_threads(order.threads)
    opening, asked = cloudpickle.loads(order.asked)
    bench: Bench = opening(asked)
    bench.study.work_for(order.command, order.results, order.run_id)
    return bench


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _sendable(error: Exception) -> Exception:
    """The error with its traceback as text; one that pickle does not give back, as text too."""
    where = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        sent: Exception = cloudpickle.loads(cloudpickle.dumps(error))
    except Exception:  # whatever the error's own pickling raises: its words are told all the same
        sent = RuntimeError(_told(error))
    sent.__cause__ = WorkerTraceback(f"\n{where}")
    return sent
