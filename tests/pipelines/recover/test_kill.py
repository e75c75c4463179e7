"""A recovery that is killed at any moment goes on where it was and ends with the same table."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipelines.recover.result import Recoverability
from pipelines.report.result import load_result

# A fork of a process that has imported everything and computed nothing: starts in milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pipelines.recover.command", "mlflow", "sklearn.datasets"])


def run(home: Path, words: list[str]) -> None:
    import torch

    from pipelines import study
    from pipelines.cli import main

    # Drawing takes most of the time and changes no number.
    study.write_page = study.save_png = lambda *_: None  # type: ignore[assignment]
    torch.set_num_threads(1)
    os.chdir(home)
    code = main(words)
    os._exit(code)


def begun(home: Path, words: list[str]) -> multiprocessing.process.BaseProcess:
    process = _FORKS.Process(target=run, args=(home, words))
    process.start()
    return process


def cells(home: Path) -> dict[str, int]:
    """When each cell of a folder was written."""
    files = (home / "mlruns" / "cells").glob("*/cell.json")
    return {
        file.parent.name: file.stat().st_mtime_ns for file in files if len(file.parent.name) == 32
    }


def rows(home: Path) -> pd.DataFrame:
    (file,) = (home / "mlruns" / "results").glob("recover-*/result.json")
    result = load_result(file.parent)
    assert isinstance(result, Recoverability)
    curves = result.rows["curve"].str.replace(r'"seconds": [^,]*', "", regex=True)
    return result.rows.drop(columns="seconds").assign(curve=curves)


def killed_and_resumed(home: Path, lenet: Path, moments: int, *more: str) -> None:
    words = [
        *("recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"),
        *("--data.limit", "100", "--limit", "50", "--effort.steps", "3", "--effort.images", "16"),
        *("--draws", "2", *more),
    ]
    untracked = home / "reference"
    untracked.mkdir()
    reference = begun(untracked, [*words, "--tracking.enabled", "false"])
    reference.join()
    assert reference.exitcode == 0
    total, chance, known = len(cells(untracked)), random.Random(0), {}
    for number in sorted(chance.sample(range(total), moments)):
        process = begun(home, words)
        while len(cells(home)) <= number and process.is_alive():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))  # into the next piece of work
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        now = cells(home)
        assert known.items() <= now.items(), "nothing is measured twice"
        known = now
    last = begun(home, words)
    last.join()
    assert last.exitcode == 0
    assert known.items() <= cells(home).items()
    assert set(cells(home)) == set(cells(untracked))
    pd.testing.assert_frame_equal(rows(home), rows(untracked))
    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("assay").experiment_id])
    names = [one.info.run_name for one in runs]
    assert len(set(names)) == len(names), "no run is there twice"
    assert {one.info.status for one in runs} == {"FINISHED"}


def test_killed_at_two_random_moments(home: Path, lenet: Path) -> None:
    killed_and_resumed(home, lenet, 2, "--severities", "0.6", "--strategies", "retrain_last")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_ten_random_moments(home: Path, lenet: Path) -> None:
    killed_and_resumed(
        home, lenet, 10, "--damage", "label_noise", "--severities", "0.2", "0.4",
        "--strategies", "retrain_last", "mend",
    )  # fmt: skip
