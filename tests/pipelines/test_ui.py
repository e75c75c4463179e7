"""The pages on the runs of a folder: what is refused, and a real server that starts and stops."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.tracking.store import open_store

Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_no_runs_yet(assay: Assay, tmp_path: Path) -> None:
    code, _, err = assay("ui", "--root", str(tmp_path / "empty"))
    assert code == 2
    assert "There are no runs yet" in err
    assert "Evaluate first." in err


def test_a_taken_port_is_named_with_another(assay: Assay, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        code, _, err = assay("ui", "--port", str(port))
    assert code == 2
    assert f"Port {port} is taken: choose another with `--port {port + 1}`." in err


def test_a_store_on_a_server_that_is_gone(assay: Assay) -> None:
    code, _, err = assay("ui", "--tracking.uri", "http://127.0.0.1:9")
    assert code == 2
    assert "does not answer" in err


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_serves_the_link_until_it_is_stopped(home: Path, port: int, ending: signal.Signals) -> None:
    odd = home / "?#%20 %41ü"
    (home / "mlruns").rename(odd) if ending is signal.SIGTERM else None
    uri = f"sqlite:///{odd if odd.is_dir() else home / 'mlruns'}/mlflow.db"
    store = open_store(uri, home, "assay")
    run = store.client.create_run(store.experiment_id).info.run_id
    store.client.log_text(run, "kept", "folder/file.txt")
    command = [sys.executable, "-u", "-m", "pipelines.cli", "ui", "--port", str(port)]
    command += ["--tracking.uri", uri]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home)
    assert server.stdout is not None
    link = next(line for line in server.stdout if "http://" in line).split()[-1]
    assert link.startswith(f"http://127.0.0.1:{port}/#/experiments/")
    assert "workflowType=machine_learning&compareRunsMode=CHART" in link
    with urllib.request.urlopen(link) as answer:
        assert b"<title>MLflow</title>" in answer.read()
    file = f"http://127.0.0.1:{port}/get-artifact?run_id={run}&path=folder/file.txt"
    with urllib.request.urlopen(file) as answer:
        assert answer.read() == b"kept"
    os.kill(server.pid, ending)
    assert server.wait(20) == 0
    deadline = time.monotonic() + 10
    while _listening(port):  # nothing is left behind
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _listening(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
