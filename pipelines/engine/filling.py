"""Workers fill the store of cells; the command then reads them by the very code that measures."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import torch

from callbacks.words import duration
from datamodules.errors import UserError
from pipelines.engine.engine import Engine
from pipelines.engine.work import Bench, Done, Order, Unit
from pipelines.study import Study
from pipelines.tracking import Tracking

_OF_DRIVER = {"engine": Engine(), "config": "", "parent": None}
"""What a worker is not told: it prints nothing and logs nothing."""


_LOST = "the process that measured it ended without a word, each time that it was tried."


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


def fill(study: Study, engine: Engine, asked: bytes, units: Sequence[Unit]) -> None:
    """Lets workers measure; what they do not, this process will, as without an engine.

    Args:
        study: whose cells are filled.
        engine: of the user; none does nothing.
        asked: from `packed`.
        units: cells that are not there yet, those first on which others wait.
    """
    if engine.kind == "none" or not units:
        return
    folder = study.root / "mlruns" / "engine" / uuid4().hex[:12]
    folder.mkdir(parents=True)
    threads = torch.get_num_threads()
    about = (study.command, study.folder, study.run.run_id)
    told = Order(asked, threads, str(Path.cwd()), *about)
    (folder / "order.pkl").write_bytes(cloudpickle.dumps(told))
    study.say(
        f"engine   {engine.title}: {len(units)} to measure by {engine.workers} "
        f"{'worker' if engine.workers == 1 else 'workers'}, threads of each: {threads}"
    )
    gpu = study.device.type == "cuda"
    try:
        _collect(study, units, _working(engine, folder / "order.pkl", units, threads, gpu))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _working(
    engine: Engine, order: Path, units: Sequence[Unit], threads: int, gpu: bool
) -> Iterator[Done]:
    """Units in the order in which they are finished; an engine is imported where it is used."""
    if engine.kind == "ray":
        from pipelines.engine.on_ray import on_ray as on_engine
    else:
        from pipelines.engine.on_submitit import on_submitit as on_engine
    return on_engine(engine, order, units, threads, gpu)


def _collect(study: Study, units: Sequence[Unit], working: Iterator[Done]) -> None:
    """Takes over what is finished and tells of it; of a unit that never is, a cell was fatal."""
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
    for unit in left.values():
        study.say(f"LOST     {unit.name}: {_LOST}")
        missing = [key for key in unit.keys if not study.cells.known(key)]
        study.cells.adopt([], dict.fromkeys(missing[:1], LostWorkerError(_LOST)))


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
