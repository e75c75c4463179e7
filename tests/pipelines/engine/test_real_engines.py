"""Commands on Ray and submitit for real: the same numbers, whatever becomes of a worker."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from killing import begun, cells, finished, runs, same_tables

from pipelines.assess.result import Assessment
from pipelines.recover.result import Recoverability
from pipelines.report.result import load_result

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ON_CPU = "--trainer.accelerator cpu --trainer.enable_progress_bar false --data Digits"
COMMANDS = {
    "transfer": f"transfer --models {{lenet}} --arch lenet {ON_CPU} --limit 40 --min_steps 300 "
    "--modes full l2_sp --fractions 2/class --trainer.max_epochs 1",
    "recover": "recover --model {lenet} --arch lenet --data Digits --trainer.accelerator cpu "
    "--data.limit 200 --limit 100 --effort.steps 40 --effort.images 64 --draws 2 --damage zero "
    "--severities 0.5 --strategies retrain_last retrain_all",
    "distill": f"distill --teacher {{lenet}} --arch lenet --student lenet {ON_CPU} --data.limit 60 "
    "--seeds 0 1 --controls label_only int8 --trainer.max_epochs 3 --evaluation none",
    "fine-tune": f"fine-tune --model lenet {ON_CPU} --data.limit 200 --trainer.max_epochs 3 "
    "--evaluation none --sweep.of tuning.weight_decay --sweep.lambdas 0 0.1 1 --sweep.images 40 "
    "--sweep.steps 2",
    "assess": "assess --model {lenet} --arch lenet --data Digits --data.limit 60 "
    "--trainer.accelerator cpu --trainer.max_epochs 1 --questions recoverability variability",
}
ENGINES = {
    "ray": "--engine.kind ray",
    "submitit": "--engine.kind submitit --engine.cluster local",
}
TIMES = re.compile(r"second|time|latency|throughput")
LONG = f"transfer --models lenet {ON_CPU} --modes full l2_sp --fractions 2/class --limit 40 " + (
    "--min_steps 3000 --trainer.max_epochs 1 --engine.threads 1 "
)
Reference = Callable[[str], Path]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> list[str]:
    """Options of an engine that is installed."""
    pytest.importorskip(request.param, reason=f"the extra `{request.param}` is not installed")
    return ENGINES[request.param].split()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, lenet: Path) -> Reference:
    """The folder in which a command was carried out without an engine, once."""
    homes: dict[str, Path] = {}

    def made(name: str) -> Path:
        if name not in homes:
            homes[name] = tmp_path_factory.mktemp(name)
            finished(homes[name], words(name, lenet))
        return homes[name]

    return made


def words(name: str, lenet: Path) -> list[str]:
    return COMMANDS[name].format(lenet=f"checkpoint:{lenet}").split()


def worker(home: Path, process: BaseProcess) -> int:
    """Waits for a process that measures a cell and is not the command; its folder names it."""
    while process.is_alive():
        for folder in (home / "mlruns" / "cells").glob("*.part"):
            pid = int(folder.name.split(".")[1].partition("-")[0])
            if pid != process.pid:
                return pid
        time.sleep(0.005)
    raise AssertionError("no worker has begun")


def tables(home: Path) -> dict[str, pd.DataFrame]:
    """All tables and rows of all results, without times."""
    found = {}
    for file in sorted(home.glob("mlruns/results/*/result.json")):
        result = load_result(file.parent)
        if isinstance(result, Assessment):  # its answers are results of their own
            continue
        made = {} if isinstance(result, Recoverability) else dict(result.tables())
        if isinstance(result, Recoverability):
            curve = result.rows["curve"].str.replace(r'"seconds": [^,}]*', "", regex=True)
            made["rows"] = result.rows.assign(curve=curve)
        for name, table in made.items():
            timed = [column for column in table if TIMES.search(str(column))]
            found[f"{type(result).__name__} {name}"] = table.drop(columns=timed)
    return found


def logged(home: Path) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """How each run ended, and its numbers, without times."""
    return {
        run.info.run_name: (
            run.info.status,
            {k: v for k, v in run.data.metrics.items() if not TIMES.search(k) and v == v},
        )
        for run in runs(home)
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_worker_costs_nothing(
    name: str, engine: list[str], tmp_path: Path, lenet: Path, reference: Reference
) -> None:
    process = begun(tmp_path / "shared", [*words(name, lenet), *engine])
    os.kill(worker(tmp_path / "shared", process), signal.SIGKILL)
    process.join()
    assert process.exitcode == 0
    assert cells(tmp_path / "shared").keys() == cells(reference(name)).keys()
    same_tables(tables(tmp_path / "shared"), tables(reference(name)))
    numbers = logged(tmp_path / "shared")
    assert {status for status, _ in numbers.values()} == {"FINISHED"}
    assert numbers.keys() == logged(reference(name)).keys()
    for run, (_, metrics) in logged(reference(name)).items():
        assert numbers[run][1] == pytest.approx(metrics, rel=1e-12), run  # written as text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_no_worker_and_goes_on(
    number: signal.Signals, engine: list[str], tmp_path: Path
) -> None:
    psutil = pytest.importorskip("psutil")
    process = begun(tmp_path, [*LONG.split(), *engine])
    worker(tmp_path, process)
    others = psutil.Process(process.pid).children(recursive=True)
    assert len(others) >= 2
    if number == signal.SIGINT:  # as a terminal does, to all at once
        os.killpg(process.pid or 0, number)
    else:
        os.kill(process.pid or 0, number)
    process.join()
    assert process.exitcode == 130
    assert not psutil.wait_procs(others, timeout=5)[1]
    assert {status for status, _ in logged(tmp_path).values()} == {"KILLED"}
    assert not [*tmp_path.glob("mlruns/engine/*")]
    known = cells(tmp_path)
    finished(tmp_path, [*LONG.split(), *engine])
    assert known.items() <= cells(tmp_path).items(), "nothing is measured twice"
    assert {status for status, _ in logged(tmp_path).values()} == {"FINISHED"}


def test_a_cluster_that_goes_away_fails_no_cell(tmp_path: Path) -> None:
    """What it was measuring, and what it had not begun, the command measures itself."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    address = "127.0.0.1:6421"
    start = (
        f"{Path(sys.executable).parent / 'ray'} start --head --port {address[-4:]} --num-cpus 2 "
        "--include-dashboard false --object-store-memory 100000000 --disable-usage-stats --block"
    )
    options = {"RAY_worker_niceness": "0", "RAY_AUTH_MODE": "token", "PYTHONPATH": os.getcwd()}
    with pytest.MonkeyPatch.context() as patch, (tmp_path / "head.txt").open("w") as told:
        for option, value in options.items():
            patch.setenv(option, value)
        head = subprocess.Popen(start.split(), stdout=told, stderr=told, start_new_session=True)
        try:
            while "runtime started" not in (tmp_path / "head.txt").read_text():
                assert head.poll() is None
                time.sleep(0.1)
            more = f"--engine.kind ray --engine.address {address} --tracking.enabled false"
            process = begun(tmp_path / "shared", [*LONG.split(), *more.split()])
            worker(tmp_path / "shared", process)
        finally:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()
    process.join()
    assert process.exitcode == 0
    (told_of,) = (tmp_path / "shared").glob("mlruns/results/*/result.json")
    assert set(load_result(told_of.parent).tables()["cells"]["status"]) == {"ok"}
