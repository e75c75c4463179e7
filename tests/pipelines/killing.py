"""Commands that are killed: started again they go on where they were and end with the same tables.

Tests are no package: `conftest.py` loads this file as the module `killing`, and so does every
process that is killed.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

_HERE = Path(__file__).resolve().parent
_CHECKOUT = _HERE.parents[1]
_ROOMS = ("assess", "distill", "evaluate", "explain", "fine_tune", "recover", "transfer")
_PRELOADED = [
    "killing", *(f"pipelines.{room}.command" for room in _ROOMS),
    "mlflow.store.tracking.sqlalchemy_store", "sklearn.datasets",
]  # fmt: skip
Tables = Callable[[Path], Mapping[str, pd.DataFrame]]
"""What a command measured in a folder, without times."""


def begun(home: Path, words: Sequence[str], drawn: bool = False) -> BaseProcess:
    """Starts a command in a process group of its own, as a shell does.

    Args:
        home: the folder that it is started in; made if it is not there.
        words: of the command line.
        drawn: with pages and pictures, which take most of the time and change no number.
    """
    home.mkdir(exist_ok=True)
    # The server that forks has the environment of the test that it was started in.
    process = _forks().Process(target=_run, args=(home, words, drawn, {**os.environ}))
    process.start()
    return process


def finished(home: Path, words: Sequence[str]) -> None:
    """Runs a command to its end."""
    process = begun(home, words)
    process.join()
    assert process.exitcode == 0


def killed(process: BaseProcess, when: Callable[[], bool], delay: float = 0.0) -> bool:
    """Waits for a moment, and some seconds more; then kills without a word.

    Returns:
        False where the process was faster.
    """
    while process.is_alive() and not when():
        time.sleep(0.01)
    process.join(delay)  # into the next piece of work
    alive = process.is_alive()
    if alive:
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    return alive


def cells(home: Path) -> dict[str, int]:
    """When each finished piece of work was written, by its key."""
    files = (home / "mlruns" / "cells").glob("*/cell.json")
    return {
        file.parent.name: file.stat().st_mtime_ns
        for file in files
        if file.parent.suffix != ".part"  # being written
    }


def goes_on(home: Path, words: Sequence[str], count: int, tables: Tables) -> None:
    """Kills a command at random moments of its work, however busy the machine is.

    Nothing is measured twice, the last try ends with the cells and tables of one that nobody
    killed, and no run is there twice.

    Args:
        home: the folder that it is started in.
        words: of the command line.
        count: of the moments.
        tables: reads what must be the same.
    """
    reference, chance = home / "reference", random.Random(count)
    finished(reference, [*words, "--tracking.enabled", "false"])
    kills, known = 0, cells(home)
    for number in sorted(chance.sample(range(len(cells(reference))), count)):
        process, delay = begun(home, words), chance.uniform(0, 0.1)
        kills += killed(process, lambda number=number: len(cells(home)) > number, delay)
        known = kept(home, known)
    assert kills > 0
    finished(home, words)
    assert set(kept(home, known)) == set(cells(reference))
    same_tables(tables(home), tables(reference))
    names = [run.info.run_name for run in finished_runs(home)]
    assert len(set(names)) == len(names), "no run is there twice"


def kept(home: Path, known: Mapping[str, int]) -> dict[str, int]:
    """The cells, among which are all that were known, as they were."""
    now = cells(home)
    assert known.items() <= now.items(), "nothing is measured twice"
    return now


def same_tables(some: Mapping[str, pd.DataFrame], others: Mapping[str, pd.DataFrame]) -> None:
    """Table by table."""
    assert some.keys() == others.keys()
    for name, table in some.items():
        pd.testing.assert_frame_equal(table, others[name])


def result_file(home: Path) -> Path:
    """Of the only result there is."""
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    return file


def store(home: Path) -> MlflowClient:
    """The store of a folder."""
    return MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")


def runs(home: Path) -> list[Any]:
    """Everything that was logged."""
    client = store(home)
    experiment = client.get_experiment_by_name("assay")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def finished_runs(home: Path) -> list[Any]:
    """All runs, which are finished."""
    logged = runs(home)
    assert {run.info.status for run in logged} == {"FINISHED"}
    return logged


@cache
def _forks() -> ForkServerContext:
    """Forks of a process that has imported everything and computed nothing start in milliseconds.

    That process does not inherit this one's path, so it is told where this checkout is: another
    may be installed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{_CHECKOUT}{os.pathsep}{_HERE}", prepend=os.pathsep)
        forkserver.ensure_running()
    return context


def _run(home: Path, words: Sequence[str], drawn: bool, environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)

    import torch

    from pipelines.cli import main
    from pipelines.study import study

    tested = [sys.modules[name].__file__ or "" for name in ("pipelines.cli", study.__name__)]
    assert all(Path(file).is_relative_to(_CHECKOUT) for file in tested), "of another checkout"
    if not drawn:
        study.write_page = study.save_png = lambda *_: None  # type: ignore[assignment]
    os.setpgrp()
    os.chdir(home)
    torch.set_num_threads(1)
    os._exit(main(list(words)))
