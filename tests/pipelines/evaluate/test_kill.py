"""A run that is killed at any moment goes on where it was and ends with the same table."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from killing import begun, finished, killed, result_file, runs, store

from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result


def rows(home: Path) -> list[pd.DataFrame]:
    evaluation = load_result(result_file(home).parent)
    assert isinstance(evaluation, Evaluation)
    return [result.rows.drop(columns="seconds") for result in evaluation.results]


def command(lenet: Path, *more: str) -> list[str]:
    return [
        *("evaluate", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"),
        *("--probes", "fgsm", "pgd", "pgd_l2", "--preset", "regular", "--chunk", "32", *more),
    ]


@pytest.mark.slow
def test_killed_at_twenty_random_moments(home: Path, lenet: Path) -> None:
    words = command(lenet)
    reference = home / "reference"
    start = time.perf_counter()
    finished(reference, [*words, "--tracking.enabled", "false"])
    duration = time.perf_counter() - start
    chance = random.Random(0)
    delays = [chance.uniform(0.1, 0.6) * duration for _ in range(20)]
    processes = ((begun(home, words, drawn=True), delay) for delay in delays)
    assert sum(killed(process, lambda: True, delay) for process, delay in processes) > 0
    finished(home, words)
    for one, other in zip(rows(home), rows(reference), strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_ctrl_c_leaves_a_killed_run_with_the_rows_so_far(home: Path, lenet: Path) -> None:
    words = command(lenet, "--preset", "full")
    process = begun(home, words)
    while not list((home / "mlruns" / "resume").glob("*/*.parquet")):
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 130
    (run,) = runs(home)
    assert run.info.status == "KILLED"
    assert "rows" in {file.path for file in store(home).list_artifacts(run.info.run_id)}
    finished(home, words)
    assert store(home).get_run(run.info.run_id).info.status == "FINISHED"


def alive_in_group(group: int) -> list[str]:
    """Processes of a group; dead ones that nobody has asked for yet do not count."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,pid="], capture_output=True, check=True)
    found = [line.split() for line in listed.stdout.decode().splitlines()]
    return [pid for pgid, stat, pid in found if int(pgid) == group and stat[0] not in "ZX"]


@pytest.mark.slow
def test_sigterm_to_the_whole_job_while_workers_load(home: Path, lenet: Path) -> None:
    # What scancel and timeout do: every process gets the signal, the workers of the loader too.
    words = command(lenet, "--data.num_workers", "2", "--data.batch_size", "8")
    process = begun(home, words)
    resume = home / "mlruns" / "resume"
    while not list(resume.glob("*/*.parquet")):
        time.sleep(0.02)
    os.killpg(process.pid or 0, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 130
    assert not alive_in_group(process.pid or 0)
    (run,) = runs(home)
    assert run.info.status == "KILLED"
    kept = {file: file.stat().st_mtime_ns for file in resume.glob("*/*.parquet")}
    finished(home, words)
    assert store(home).get_run(run.info.run_id).info.status == "FINISHED"
    assert {file: file.stat().st_mtime_ns for file in kept} == kept  # nothing is measured twice
    measured = [pd.read_parquet(file) for file in resume.glob("*/*.parquet")]
    assert sum(map(len, measured)) == sum(map(len, rows(home)))
