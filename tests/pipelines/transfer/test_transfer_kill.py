"""A matrix that is killed at any moment goes on where it was and ends with the same tables."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from pipelines.cli import main
from pipelines.report.result import load_result

# A fork of a process that has imported everything and computed nothing: starts in milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["pipelines.transfer.command", "mlflow.store.tracking.sqlalchemy_store", "sklearn.datasets"]
)


def run(home: Path, words: list[str]) -> None:
    torch.set_num_threads(1)
    os.chdir(home)
    os._exit(main(words))


def begun(home: Path, words: list[str]) -> Process:
    process = _FORKS.Process(target=run, args=(home, words))
    process.start()
    return process


def killed(process: Process, when: Callable[[], bool]) -> bool:
    """Waits for a moment and kills without a word; False where the process was faster."""
    while process.is_alive() and not when():
        time.sleep(0.01)
    alive = process.is_alive()
    if alive:
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    return alive


def cells(home: Path) -> dict[str, int]:
    """Finished cells and when each was written."""
    files = (home / "mlruns" / "cells").glob("*/cell.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in files if ".part" not in str(file)}


def command(lenet: Path, *more: str) -> list[str]:
    line = (
        f"transfer --models checkpoint:{lenet} lenet --arch lenet none --data Digits "
        "--modes full --fractions 2/class --limit 40 --min_steps 2 --trainer.max_epochs 1 "
        "--trainer.accelerator cpu"
    )
    return [*line.split(), *more]


def tables(home: Path) -> dict[str, pd.DataFrame]:
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    made = load_result(file.parent).tables()
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in made.items()}


def check(home: Path, lenet: Path, tmp: Path, before: dict[str, int]) -> set[int]:
    """Compares with a matrix that nobody disturbed, and returns how often a run was made."""
    with pytest.MonkeyPatch.context() as patch:  # drawing takes longer than measuring here
        patch.setattr("pipelines.study.write_page", lambda results, file: file)
        patch.setattr("pipelines.study.save_png", lambda figure, file: None)
        finish(home, lenet, tmp)
    after = cells(home)
    assert len(after) == 6, "2 models x (untouched, full, scores)"
    assert {key: after[key] for key in before} == before, "nothing is measured twice"
    expected = tables(tmp)
    for name, table in tables(home).items():
        pd.testing.assert_frame_equal(table, expected[name])
    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("assay")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {found.info.status for found in runs} == {"FINISHED"}
    made = Counter(found.info.run_name for found in runs)
    assert len(made) == 3, "a run for each model below one for all"
    return set(made.values())


def finish(home: Path, lenet: Path, tmp: Path) -> None:
    """Goes on with the matrix, and measures another one at once."""
    assert main(command(lenet)) == 0
    assert main(command(lenet, "--root", str(tmp), "--tracking.enabled", "false")) == 0


@pytest.fixture
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


def test_killed_at_two_random_moments(home: Path, lenet: Path, undisturbed: Path) -> None:
    """Once among the cells, and once while pages are written and runs are logged."""
    chance = random.Random(0)
    few = chance.randint(1, 4)
    assert killed(begun(home, command(lenet)), lambda: len(cells(home)) >= few)
    before = cells(home)
    late = time.monotonic() + 120

    def logging() -> bool:
        nonlocal late
        if any((home / "mlruns" / "results").glob("*/stages/*/report.html")):
            late = min(late, time.monotonic() + chance.uniform(0, 0.3))
        return time.monotonic() > late

    assert killed(begun(home, command(lenet)), logging)
    after = cells(home)
    assert {key: after[key] for key in before} == before
    assert check(home, lenet, undisturbed, after) == {1}


@pytest.mark.slow
def test_killed_at_ten_random_moments(home: Path, lenet: Path, undisturbed: Path) -> None:
    chance, count = random.Random(1), 0
    for _ in range(10):
        end = time.monotonic() + chance.uniform(0.2, 4.0)
        count += killed(begun(home, command(lenet)), lambda end=end: time.monotonic() > end)
    assert count > 0
    # One that was faster than its end has finished its runs, and the next one makes others.
    assert len(check(home, lenet, undisturbed, cells(home))) == 1
