"""`assay ui`: the MLflow pages on the runs of this folder."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import ArgumentParser

from datamodules.errors import UserError
from pipelines.tracking import terminable
from pipelines.tracking.location import database_of, resolved_uri
from pipelines.tracking.store import open_store

_LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes and 0.5 GB instead of 10 and 2 GB
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PYTHONWARNINGS": "ignore",  # deprecations inside the server, which a user cannot act on
}
_PATIENCE = 120.0
"""Seconds a slow machine may take to start the server."""


def main(words: list[str]) -> int:
    """Runs the command line."""
    parser = ArgumentParser(
        prog="assay ui", description="Serves the MLflow pages on the runs of this folder."
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--tracking.uri", dest="uri", type=str, help="of the MLflow store")
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5000, help="port to listen on")
    parser.add_argument("--experiment", type=str, default="assay", help="experiment to open")
    chosen = parser.parse_args(words)
    return serve(chosen.root, chosen.uri, chosen.host, chosen.port, chosen.experiment)


def serve(
    root: Path = Path(),
    uri: str | None = None,
    host: str = "127.0.0.1",
    port: int = 5000,
    experiment: str = "assay",
) -> int:
    """Starts the server, prints the link once it answers, and waits for Ctrl-C.

    Args:
        root: folder that holds `mlruns/`.
        uri: of the store; None takes the environment's or the embedded one.
        host: address to listen on.
        port: to listen on.
        experiment: whose runs the link shows.

    Raises:
        UserError: there are no runs yet, the port is taken, or the server does not start.
    """
    uri = resolved_uri(uri, root)
    if uri.startswith("http"):
        print(f"The runs are on a server already: {open_store(uri, root, experiment).link}")
        return 0
    database = database_of(uri)
    if database is not None and not database.is_file():
        raise UserError(f"There are no runs yet: {str(database)!r} does not exist. Evaluate first.")
    if _taken(host, port):
        raise UserError(f"Port {port} is taken: choose another with `--port {port + 1}`.")
    page = open_store(uri, root, experiment).page
    artifacts = (database.parent if database else root / "mlruns").resolve() / "artifacts"
    try:
        with terminable(), _server(uri, artifacts, host, port) as server:
            print("assay: starting the MLflow server, about ten seconds ...", flush=True)
            _await(server, host, port)
            print(f"\nassay: http://{host}:{port}{page}\n       Ctrl-C stops it.\n", flush=True)
            server.wait()
    except KeyboardInterrupt:
        return 0
    raise UserError(f"The MLflow server ended by itself with code {server.returncode}.")


@contextmanager
def _server(uri: str, artifacts: Path, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the server in a session of its own, and stops all of it in the end."""
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri),
        *("--artifacts-destination", artifacts.as_uri(), "--workers", "1"),
        *("--host", host, "--port", str(port), "--uvicorn-opts", "--log-level warning"),
    ]
    # A session of its own: Ctrl-C reaches us alone, and we end the server once.
    server = subprocess.Popen(command, env={**os.environ, **_LIGHT}, start_new_session=True)
    try:
        yield server
    finally:
        server.terminate()  # it hands the signal on to its worker
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _await(server: "subprocess.Popen[bytes]", host: str, port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _healthy(host, port):
        if server.poll() is not None:
            raise UserError(f"The MLflow server did not start; it ended with {server.returncode}.")
        if time.monotonic() > deadline:
            raise UserError(f"The MLflow server did not answer within {_PATIENCE:g} s.")
        time.sleep(0.2)


def _healthy(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{_local(host)}:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _taken(host: str, port: int) -> bool:
    """Whether somebody listens there already, or we may not."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError:
            return True
    return False


def _local(host: str) -> str:
    """The address under which this machine reaches a server that listens on all."""
    return "127.0.0.1" if host == "0.0.0.0" else host
