"""A pipeline's runs in MLflow: a parent, its children, and how they end."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.log_evaluation import log_evaluation, log_headline
from pipelines.run import Run
from pipelines.store import Store, TrackingError, UnreachableError, open_store, store_errors

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged.

    Args:
        uri: of an MLflow store or server; default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db.
        experiment: name of the experiment.
        enabled: False keeps results on disk only.
    """

    uri: str | None = None
    experiment: str = "assay"
    enabled: bool = True


@contextmanager
def started(
    store: Store | None,
    name: str,
    tags: dict[str, str],
    parent: Run | None = None,
    keep: Path | None = None,
) -> Iterator[Run]:
    """Opens a run and ends it as FINISHED, FAILED or KILLED, whatever happens inside.

    Args:
        store: None gives a run that logs nothing.
        name: shown in the runs table.
        tags: of the run.
        parent: this run becomes its child.
        keep: file that remembers the run until it is finished, so that it can be reopened.

    Raises:
        TrackingError: the store takes no run.
    """
    if store is None:
        with terminable():
            yield Run()
        return
    if parent is not None:
        tags = {**tags, "mlflow.parentRunId": str(parent.run_id)}
    run = _opened(store, name, tags, keep)
    status = "FAILED"
    try:
        with terminable():
            yield run
        status = "FINISHED"
        if keep:
            keep.unlink(missing_ok=True)
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _end(run, status)


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM interrupt like Ctrl-C, where signals can be caught."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _opened(store: Store, name: str, tags: dict[str, str], keep: Path | None) -> Run:
    """Reopens the run that `keep` remembers, else makes a new one and remembers it."""
    with store_errors(f"The store {store.uri!r} takes no run"):
        found = _remembered(store, keep)
        if found is not None:
            store.client.update_run(found.info.run_id, "RUNNING")
            return Run(store, found.info.run_id, reopened=True)
        made = store.client.create_run(
            store.experiment_id, run_name=name, tags={**_default_tags(), **tags}
        )
    if keep:
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.write_text(json.dumps({"run_id": made.info.run_id, "uri": store.uri}))
    return Run(store, made.info.run_id)


def _remembered(store: Store, keep: Path | None) -> "MlflowRun | None":
    """Returns the unfinished run that a file names, if the store still has it."""
    from mlflow.exceptions import MlflowException

    if keep is None or not keep.is_file():
        return None
    try:
        known = json.loads(keep.read_text())
        run = store.client.get_run(known["run_id"])
    except (MlflowException, ValueError, KeyError):
        return None
    here = known["uri"] == store.uri and run.info.experiment_id == store.experiment_id
    return run if here and run.info.lifecycle_stage == "active" else None


def _end(run: Run, status: str) -> None:
    try:
        run.end(status)
    except TrackingError as error:
        # The store is gone: whatever went wrong before matters more than a status.
        print(f"assay: run {run.run_id} could not be marked {status}: {error}", file=sys.stderr)


def _default_tags() -> dict[str, str]:
    """User, program, and the commit of the folder it was started in."""
    from mlflow.tracking.context.registry import resolve_tags

    tags = resolve_tags()
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:  # no git
        return tags
    if answer.returncode == 0:
        tags["mlflow.source.git.commit"] = answer.stdout.strip()
    return tags


__all__ = [
    "Run",
    "Store",
    "Tracking",
    "TrackingError",
    "UnreachableError",
    "log_evaluation",
    "log_headline",
    "open_store",
    "started",
    "terminable",
]
