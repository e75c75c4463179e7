"""Opens the MLflow store: the embedded one below `mlruns/`, or a server."""

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from filelock import FileLock, Timeout

from datamodules.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PATIENCE = 120.0
"""Seconds to wait for another process that is creating the database."""


class TrackingError(UserError):
    """The store does not take what was measured; the results are on disk."""


@dataclass(frozen=True)
class Store:
    """An open store and the experiment in it.

    Args:
        client: of MLflow.
        uri: of the store.
        experiment_id: of the experiment.
    """

    client: "MlflowClient"
    uri: str
    experiment_id: str

    @property
    def page(self) -> str:
        """Path of the page that overlays the experiment's curves."""
        return (
            f"/#/experiments/{self.experiment_id}/runs"
            "?workflowType=machine_learning&compareRunsMode=CHART"
        )


def resolved_uri(uri: str | None, root: Path) -> str:
    """Returns the given URI, else `MLFLOW_TRACKING_URI`, else the SQLite file below `root`."""
    database = (root / "mlruns" / "mlflow.db").resolve()
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"


def open_store(uri: str | None, root: Path, experiment: str) -> Store:
    """Opens, and creates where need be, the store and the experiment.

    Args:
        uri: of the store; None takes the environment's or the embedded one.
        root: folder that holds `mlruns/`.
        experiment: name; made if there is none.

    Raises:
        TrackingError: the folder cannot be written, the database is locked, or no server answers.
    """
    uri = resolved_uri(uri, root)
    # A run must not wait for minutes on a server that is gone; results are on disk anyway.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if uri.startswith("http"):
        _reach(uri)
        return _opened(uri, experiment, None)
    if not uri.startswith("sqlite:///"):
        return _opened(uri, experiment, None)
    folder = Path(uri.removeprefix("sqlite:///")).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Creating the schema from two processes at once can spoil the file for good.
        with FileLock(folder / ".mlflow.db.lock", timeout=_PATIENCE):
            return _opened(uri, experiment, (folder / "artifacts").as_uri())
    except Timeout as error:
        raise TrackingError(
            f"Another process has held {str(folder / '.mlflow.db.lock')!r} for {_PATIENCE:g} s: end "
            "it, or delete the file if there is none."
        ) from error
    except OSError as error:
        raise TrackingError(
            f"The folder {str(folder)!r} cannot be written ({error.strerror}): start from another "
            "folder, or name a store with `--tracking.uri`."
        ) from error


def _opened(uri: str, experiment: str, artifacts: str | None) -> Store:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it narrates its migrations
    try:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            try:
                identity = client.create_experiment(experiment, artifacts)
            except MlflowException:  # another rank was faster
                found = client.get_experiment_by_name(experiment)
                if found is None:
                    raise
                identity = found.experiment_id
        elif found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"The experiment {experiment!r} is deleted: restore it in MLflow, or name another "
                "with `--tracking.experiment`."
            )
        else:
            identity = found.experiment_id
    except TrackingError:
        raise
    except Exception as error:  # SQLAlchemy's, MLflow's and requests' errors share no other base
        raise TrackingError(
            f"The tracking store {uri!r} cannot be opened: {_first_line(error)}"
        ) from error
    return Store(client, uri, identity)


def _reach(uri: str) -> None:
    """Tries a connection, because MLflow itself would go on retrying."""
    parts = urlparse(uri)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        raise TrackingError(
            f"The tracking server {uri!r} does not answer ({error.strerror or error})."
        ) from error


def _first_line(error: BaseException) -> str:
    """The innermost cause in one line, without SQLAlchemy's statements."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0][:200]
