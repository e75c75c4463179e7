"""A run that is killed at any moment goes on where it was and ends with the same table."""

import multiprocessing
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result

# A fork of a process that has imported everything and computed nothing: starts in milliseconds.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pipelines.evaluate.command", "mlflow", "sklearn.datasets"])


def run(home: Path, words: list[str]) -> None:
    import torch

    from pipelines.cli import main

    torch.set_num_threads(1)
    os.chdir(home)
    code = main(words)
    os._exit(code)


def run_in_a_group(home: Path, words: list[str]) -> None:
    os.setpgrp()
    run(home, words)


def begun(home: Path, words: list[str]) -> multiprocessing.process.BaseProcess:
    process = _FORKS.Process(target=run, args=(home, words))
    process.start()
    return process


def rows(home: Path) -> list[pd.DataFrame]:
    (file,) = (home / "mlruns" / "results").glob("*/result.json")
    evaluation = load_result(file.parent)
    assert isinstance(evaluation, Evaluation)
    return [result.rows.drop(columns="seconds") for result in evaluation.results]


def command(lenet: Path, *more: str) -> list[str]:
    return [
        *("evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"),
        *("--probes", "fgsm", "pgd", "pgd_l2", "--preset", "regular", "--chunk", "32", *more),
    ]


@pytest.mark.slow
def test_killed_at_twenty_random_moments(home: Path, lenet: Path, tmp_path_factory: object) -> None:
    words = command(lenet)
    untracked = home / "reference"
    untracked.mkdir()
    start = time.perf_counter()
    reference = begun(untracked, [*words, "--tracking.enabled", "false"])
    reference.join()
    duration = time.perf_counter() - start
    chance = random.Random(0)
    killed = 0
    for _ in range(20):
        process = begun(home, words)
        process.join(chance.uniform(0.1, 0.6) * duration)
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            killed += 1
        process.join()
    last = begun(home, words)
    last.join()
    assert last.exitcode == 0
    assert killed > 0
    for one, other in zip(rows(home), rows(untracked), strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_ctrl_c_leaves_a_killed_run_with_the_rows_so_far(home: Path, lenet: Path) -> None:
    from mlflow import MlflowClient

    words = command(lenet, "--preset", "full")
    process = begun(home, words)
    while not list((home / "mlruns" / "resume").glob("*/*.parquet")):
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("assay").experiment_id])
    assert {one.info.status for one in runs} == {"KILLED"}
    (run,) = runs
    assert "rows" in {file.path for file in client.list_artifacts(run.info.run_id)}
    again = begun(home, words)
    again.join()
    assert again.exitcode == 0
    assert client.get_run(run.info.run_id).info.status == "FINISHED"


def alive_in_group(group: int) -> list[str]:
    """Processes of a group; dead ones that nobody has asked for yet do not count."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,pid="], capture_output=True, check=True)
    found = [line.split() for line in listed.stdout.decode().splitlines()]
    return [pid for pgid, stat, pid in found if int(pgid) == group and stat[0] not in "ZX"]


@pytest.mark.slow
def test_sigterm_to_the_whole_job_while_workers_load(home: Path, lenet: Path) -> None:
    from mlflow import MlflowClient

    # What scancel and timeout do: every process gets the signal, the workers of the loader too.
    words = command(lenet, "--data.num_workers", "2", "--data.batch_size", "8")
    process = _FORKS.Process(target=run_in_a_group, args=(home, words))
    process.start()
    resume = home / "mlruns" / "resume"
    while not list(resume.glob("*/*.parquet")):
        time.sleep(0.02)
    os.killpg(process.pid or 0, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 130
    assert not alive_in_group(process.pid or 0)
    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("assay")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "KILLED"
    kept = {file: file.stat().st_mtime_ns for file in resume.glob("*/*.parquet")}
    again = begun(home, words)
    again.join()
    assert again.exitcode == 0
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    assert {file: file.stat().st_mtime_ns for file in kept} == kept  # nothing is measured twice
    measured = [pd.read_parquet(file) for file in resume.glob("*/*.parquet")]
    assert sum(map(len, measured)) == sum(map(len, rows(home)))
