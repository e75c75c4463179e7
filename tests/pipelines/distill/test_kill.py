"""A distillation that is killed at any moment goes on where it was and ends with the same table."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

# A fork of a process that has imported everything and computed nothing: starts in milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pipelines.distill.command", "mlflow", "sklearn.datasets"])
_TIMES = ["latency", "throughput"]


def run(home: Path, words: list[str]) -> None:
    import torch

    from pipelines.cli import main

    torch.set_num_threads(1)
    os.chdir(home)
    os._exit(main(words))


def begun(home: Path, words: list[str]) -> multiprocessing.process.BaseProcess:
    home.mkdir(exist_ok=True)
    process = _FORKS.Process(target=run, args=(home, words))
    process.start()
    return process


def finished(home: Path, words: list[str]) -> None:
    process = begun(home, words)
    process.join(240)
    assert process.exitcode == 0


def words(lenet: Path, *more: str) -> list[str]:
    return [
        *("distill", "--teacher", f"checkpoint:{lenet}", "--arch", "lenet", "--student", "lenet"),
        *("--data", "Digits", "--data.limit", "40", "--chunk", "32", "--trainer.max_epochs", "1"),
        *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", *more),
    ]


def cells(home: Path) -> dict[str, str]:
    """When each piece of work was done, by its key."""
    every = (home / "mlruns" / "cells").glob("*/cell.json")
    files = [file for file in every if file.parent.suffix != ".part"]  # being written
    return {file.parent.name: json.loads(file.read_text())["measured"] for file in files}


def tables(home: Path) -> dict[str, pd.DataFrame]:
    """Of the only result there is."""
    (folder,) = (home / "mlruns" / "results").iterdir()
    read = {file.stem: pd.read_json(file, orient="split") for file in folder.glob("tables/*.json")}
    return {name: table.drop(columns=_TIMES, errors="ignore") for name, table in read.items()}


def killed_after(home: Path, command: list[str], count: int, delay: float) -> bool:
    """Starts the command and kills it a moment after so many pieces of work are done."""
    process = begun(home, command)
    deadline = time.monotonic() + 240
    while process.is_alive() and len(cells(home)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    process.join(delay)
    alive = process.is_alive()
    if alive:
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    return alive


def goes_on(home: Path, command: list[str], moments: list[int], chance: random.Random) -> None:
    """Kills at those moments; the last try ends with the tables of one that nobody killed."""
    finished(home / "reference", [*command, "--tracking.enabled", "false"])
    done: dict[str, str] = {}
    kills = 0
    for count in moments:
        kills += killed_after(home, command, count, chance.uniform(0, 0.3))
        assert done.items() <= cells(home).items(), "nothing is measured twice"
        done = cells(home)
    assert kills > 0
    finished(home, command)
    assert done.items() <= cells(home).items()
    assert len(cells(home)) == len(cells(home / "reference"))
    expected = tables(home / "reference")
    assert tables(home).keys() == expected.keys()
    for name, table in tables(home).items():
        pd.testing.assert_frame_equal(table, expected[name])
    store = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = store.search_runs([store.get_experiment_by_name("assay").experiment_id])
    assert {one.info.status for one in runs} == {"FINISHED"}
    names = [one.info.run_name for one in runs]
    assert len(set(names)) == len(names), "no run is made twice"
    for one in runs:
        steps = [point.step for point in store.get_metric_history(one.info.run_id, "train/loss")]
        assert len(set(steps)) == len(steps), "no point of a curve is there twice"


def test_killed_at_two_moments(home: Path, lenet: Path) -> None:
    chance = random.Random(0)
    command = words(lenet, "--evaluation", "none", "--controls", "int8")
    goes_on(home, command, sorted(chance.sample(range(4), 2)), chance)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_ten_moments(home: Path, lenet: Path) -> None:
    chance = random.Random(1)
    command = words(lenet, "--seeds", "0", "1", "--controls", "label_only", "pruned", "int8")
    goes_on(home, command, sorted(chance.choices(range(16), k=10)), chance)
