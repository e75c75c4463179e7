"""A tracking server that dies in the middle of an assessment, and comes back: nothing is lost."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from killing import begun, finished
from mlflow import MlflowClient

from pipelines.report.result import load_result


class Server:
    """A real one in a process group of its own, on a port of its own."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.words = [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)),
            *("--backend-store-uri", f"sqlite:///{home / 'server.db'}"),
            *("--artifacts-destination", str(home / "artifacts")),
        ]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.words, stdout=quiet, stderr=quiet, start_new_session=True
        )
        while not self.answers():
            assert self.process.poll() is None
            time.sleep(0.2)

    def answers(self) -> bool:
        try:
            return urlopen(f"{self.uri}/health", timeout=5).status == 200
        except OSError:
            return False

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(home: Path) -> Iterator[Server]:
    one = Server(home)
    one.start()
    yield one
    one.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_that_dies_and_comes_back(home: Path, lenet: Path, server: Server) -> None:
    line = (
        f"assess --model checkpoint:{lenet} --arch lenet --data Digits --data.limit 100 "
        f"--questions robustness variability --tracking.uri {server.uri}"
    )
    words, work = line.split(), home / "work"
    process = begun(work, words)
    while process.is_alive() and not list((work / "mlruns").glob("resume/runs/*.*.json")):
        time.sleep(0.01)  # until the first question has a run of its own
    server.kill()
    process.join()
    assert process.exitcode == 1, "it was not logged"
    assert not load_result(assessed(work)).about.interrupted, "yet everything is there"
    server.start()
    finished(work, words)
    client = MlflowClient(server.uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "assay"]
    made = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in made] == ["FINISHED"] * 3
    assert len({run.info.run_name for run in made}) == 3


def assessed(work: Path) -> Path:
    (file,) = (work / "mlruns" / "results").glob("assess-*/result.json")
    return file.parent
