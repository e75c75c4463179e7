"""Opens the MLflow store: the embedded one below `mlruns/`, or a server."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipelines.tracking.location import database_of, resolved_uri
from pipelines.tracking.schema import check_schema
from pipelines.tracking.trouble import TrackingError, UnreachableError, innermost

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PATIENCE = 120.0
"""Seconds to wait for another process that is creating the database."""
_BRIEF = 5.0
"""Seconds a server has for its first answer."""
_SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
_DEFAULTS = {
    # A run must not wait for minutes on a server that is gone; results are on disk anyway.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


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

    @property
    def link(self) -> str:
        """Where to look: the server's page, or the command that serves it."""
        if self.uri.startswith("http"):
            return self.uri.rstrip("/") + self.page
        return f"assay ui  ->  http://127.0.0.1:5000{self.page}"


def open_store(uri: str | None, root: Path, experiment: str) -> Store:
    """Opens, and creates where need be, the store and the experiment.

    Args:
        uri: of the store; None takes the environment's or the embedded one.
        root: folder that holds `mlruns/`.
        experiment: name; made if there is none.

    Raises:
        UnreachableError: no server answers.
        SchemaError: the database is of another version of MLflow.
        TrackingError: the folder cannot be written, or the database is locked or none.
    """
    uri = resolved_uri(uri, root)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    _check(uri)
    if uri.startswith("http"):
        _reach(uri)
    database = database_of(uri)
    if database is None:
        return _opened(uri, experiment, None)
    folder = database.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Creating the schema from two processes at once can spoil the file for good.
        with FileLock(folder / ".mlflow.db.lock", timeout=_PATIENCE):
            return _opened(uri, experiment, (folder / "artifacts").as_uri())
    except Timeout as error:
        raise TrackingError(
            f"Another process has held {str(folder / '.mlflow.db.lock')!r} for {_PATIENCE:g} s: "
            "end it, or delete the file if there is none."
        ) from error
    except OSError as error:
        raise TrackingError(
            f"The folder {str(folder)!r} cannot be written ({error.strerror or error}): start from "
            "another folder, or name a store with `--tracking.uri`."
        ) from error


@contextmanager
def store_errors(sentence: str) -> Iterator[None]:
    """Turns whatever MLflow throws inside into one line.

    Args:
        sentence: what it means, without full stop.

    Raises:
        TrackingError: the sentence and the innermost cause.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:  # a dead server shows as either
        raise TrackingError(f"{sentence} ({innermost(error)}).") from error


def connected(uri: str) -> "MlflowClient":
    """A client of MLflow that keeps to itself what is told in one line, and migrates nothing.

    Args:
        uri: from `resolved_uri`.

    Raises:
        SchemaError: the database is of another version of MLflow.
    """
    from mlflow import MlflowClient

    check_schema(uri)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it narrates its migrations
    # It prints tracebacks and retries of errors that it raises as well, and we tell in one line.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return MlflowClient(uri)


def _opened(uri: str, experiment: str, artifacts: str | None) -> Store:
    try:
        client = connected(uri)
        return Store(client, uri, _experiment(client, experiment, artifacts))
    except TrackingError:
        raise
    except Exception as error:  # SQLAlchemy's, MLflow's and requests' errors share no other base
        raise TrackingError(
            f"The tracking store {uri!r} cannot be opened ({innermost(error)}): end the program "
            "that holds it, or name another with `--tracking.uri`."
        ) from error


def _experiment(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    """Returns the id of the experiment of that name, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifacts)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise TrackingError(
            f"The experiment {name!r} is deleted: restore it with `mlflow experiments restore -x "
            f"{found.experiment_id}`, or name another with `--tracking.experiment`."
        )
    return found.experiment_id


def _check(uri: str) -> None:
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in _SCHEMES:
        raise TrackingError(
            "Expected a tracking URI like sqlite:///FILE.db or http://SERVER:5000, but got "
            f"{uri!r}; MLflow no longer keeps runs in plain folders."
        )


def _reach(uri: str) -> None:
    """Asks once and briefly, because MLflow itself would go on retrying."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_BRIEF)  # any answer will do
    except requests.RequestException as error:
        cause: BaseException = error
        while cause.__context__ is not None:  # urllib3 and requests wrap what the system said
            cause = cause.__context__
        raise UnreachableError(
            f"The tracking server {uri!r} does not answer ({innermost(cause)})."
        ) from error
