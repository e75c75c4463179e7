"""`assay ui`: the MLflow pages on the runs of this folder."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import ArgumentParser

from datamodules.errors import UserError
from pipelines.store import open_store, resolved_uri

_LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 2 processes and 0.5 GB instead of 10 and 2 GB
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def main(words: list[str]) -> int:
    """Runs the command line."""
    parser = ArgumentParser(
        prog="assay ui", description="Serves the MLflow pages on the runs of this folder."
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds mlruns/")
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=5000, help="port to listen on")
    parser.add_argument("--experiment", type=str, default="assay", help="experiment to open")
    chosen = parser.parse_args(words)
    return serve(chosen.root, chosen.host, chosen.port, chosen.experiment)


def serve(root: Path, host: str = "127.0.0.1", port: int = 5000, experiment: str = "assay") -> int:
    """Starts the server, prints the link once it answers, and waits for Ctrl-C.

    Args:
        root: folder that holds `mlruns/`.
        host: address to listen on.
        port: to listen on.
        experiment: whose runs the link shows.

    Raises:
        UserError: there are no runs yet, or the port is taken.
    """
    uri = resolved_uri(None, root)
    if uri.startswith("http"):
        print(f"The runs are on a server already: {uri}")
        return 0
    database = Path(uri.removeprefix("sqlite:///"))
    if not database.is_file():
        raise UserError(f"There are no runs yet: {str(database)!r} does not exist. Evaluate first.")
    if _answers(host, port):
        raise UserError(f"Port {port} is taken: choose another with `--port {port + 1}`.")
    page = open_store(uri, root, experiment).page
    server = subprocess.Popen(_command(uri, database, host, port), env={**os.environ, **_LIGHT})
    try:
        while not _answers(host, port):
            if server.poll() is not None:
                raise UserError(f"The MLflow server ended with code {server.returncode}.")
            time.sleep(0.2)
        print(f"\nassay: http://{host}:{port}{page}\n       Ctrl-C stops it.\n", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait(10)


def _command(uri: str, database: Path, host: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", uri),
        *("--artifacts-destination", str(database.parent / "artifacts")),
        *("--host", host, "--port", str(port), "--workers", "1"),
    ]


def _answers(host: str, port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(0.5)
        return tried.connect_ex((host, port)) == 0
