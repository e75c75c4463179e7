"""Workers fill the store of cells; the command then reads them by the very code that measures."""

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import cloudpickle
import torch

from callbacks.words import duration
from datamodules.errors import UserError
from pipelines.engine.engine import Engine
from pipelines.engine.work import TRIES, Bench, Done, Order, Unit, tries
from pipelines.study import Study
from pipelines.tracking import Tracking

_OF_DRIVER = {"engine": Engine(), "config": "", "parent": None}
"""What a worker is not told: it prints nothing and logs nothing."""
_LOST = "the process that measured it ended without a word, each time that it was tried."
B = TypeVar("B", bound=Bench)


class LostWorkerError(RuntimeError):
    """A cell whose worker was lost each time that it was tried."""


def packed(
    engine: Engine, opening: Callable[[Mapping[str, Any]], Bench], asked: Mapping[str, Any]
) -> bytes:
    """What the workers are told, before anything is opened; empty without an engine.

    Args:
        engine: of the user.
        opening: opens the command; a function of a module.
        asked: arguments of the command, those in its `options` beside the others.

    Raises:
        UserError: an argument cannot be sent to another process.
    """
    if engine.kind == "none":
        return b""
    told = {**asked, **_OF_DRIVER, "tracking": Tracking(enabled=False)}
    try:
        return cloudpickle.dumps((opening, told))
    except Exception as error:  # whatever the user's objects raise
        raise UserError(
            f"An argument cannot be sent to the workers of `engine.kind` {engine.kind} "
            f"({type(error).__name__}: {error}): name models and data instead, or leave the "
            "engine out."
        ) from error


@contextmanager
def opened_on(
    engine: Engine, opening: Callable[[Mapping[str, Any]], B], asked: Mapping[str, Any]
) -> Iterator[tuple[B, Callable[[], None]]]:
    """Opens a command here and for workers, who share the cores with it.

    Yields:
        The command, and what lets workers measure; what they do not, this process will, as without
        an engine.

    Args:
        engine: of the user; none does nothing.
        opening: opens the command; a function of a module.
        asked: arguments of the command, with its `options`.

    Raises:
        UserError: an argument cannot be sent to another process, or what `opening` raises.
    """
    asked = {**asked, **asked.get("options", {})}
    asked.pop("options", None)
    with engine.sharing_cores():
        told = packed(engine, opening, asked)
        bench = opening(asked)
        yield bench, partial(_fill, bench, engine, told)


def _fill(bench: Bench, engine: Engine, asked: bytes) -> None:
    """Lets workers measure; see `opened_on`."""
    if engine.kind == "none" or not (units := bench.units()):
        return
    study = bench.study
    folder = study.root / "mlruns" / "engine" / uuid4().hex[:12]
    folder.mkdir(parents=True)
    threads = torch.get_num_threads()
    about = (study.command, study.folder, study.run.run_id)
    told, order = Order(asked, threads, str(Path.cwd()), *about), folder / "order.pkl"
    order.write_bytes(cloudpickle.dumps(told))
    study.say(
        f"engine   {engine.title}: {len(units)} to measure by {engine.workers} "
        f"{'worker' if engine.workers == 1 else 'workers'}, threads of each: {threads}"
    )
    gpu = study.device.type == "cuda"
    try:
        # Closed, so that no worker outlives Ctrl-C: an error on its way up would keep it open.
        with closing(_working(engine, order, units, threads, gpu)) as working:
            left = _collect(study, units, working)
        _tell_left(study, order, left)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _working(
    engine: Engine, order: Path, units: Sequence[Unit], threads: int, gpu: bool
) -> Generator[Done, None, None]:
    """Units in the order in which they are finished; an engine is imported where it is used."""
    if engine.kind == "ray":
        from pipelines.engine.on_ray import on_ray as on_engine
    else:
        from pipelines.engine.on_submitit import on_submitit as on_engine
    return on_engine(engine, order, units, threads, gpu)


def _collect(study: Study, units: Sequence[Unit], working: Iterator[Done]) -> list[Unit]:
    """Takes over what is finished and tells of it; returns what never was."""
    left = {unit.number: unit for unit in units}
    begun = 0.0  # engines take their time to start
    for done in working:
        unit = left.pop(done.number)
        told = _taken_over(study, unit, done)
        finished, begun = len(units) - len(left), begun or time.perf_counter()
        rest = (time.perf_counter() - begun) / max(1, finished - 1) * len(left)
        later = f"   about {duration(rest)} left" if left and finished > 1 else ""
        line = f"{finished:>4}/{len(units)} {unit.name}: {told}{later}"
        study.say_progress(line, told != "measured" or not left)
    return [*left.values()]


def _tell_left(study: Study, order: Path, left: Sequence[Unit]) -> None:
    """Of a unit that every worker died of, a cell was fatal; others the engine was lost for."""
    fatal = [unit for unit in left if tries(order, unit.number) >= TRIES]
    for unit in fatal:
        study.say(f"LOST     {unit.name}: {_LOST}")
        missing = [key for key in unit.keys if not study.cells.known(key)]
        study.cells.adopt([], dict.fromkeys(missing[:1], LostWorkerError(_LOST)))
    if rest := len(left) - len(fatal):
        study.say(f"WARNING  The engine ended early: what is left ({rest}) is measured here.")


def _taken_over(study: Study, unit: Unit, done: Done) -> str:
    """Takes over what was measured of a unit, also by a worker that was lost, and says how it went.

    Whatever is not there afterwards this process measures itself.
    """
    cells = study.cells
    stored = [key for key in unit.keys if cells.known(key)]
    cells.adopt([*stored, *done.measured], done.errors)
    if bad := done.problem or next(map(str, done.errors.values()), ""):
        return f"FAILED {bad}"
    if not any(cells.known(key) for key in unit.keys):
        return "measured on another device or by another torch, so it is measured here again"
    return "measured"
