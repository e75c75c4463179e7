"""A pipeline's runs in MLflow: a parent, its children, and how they end."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from lightning.pytorch.utilities import rank_zero_only

from lightning_modules.trainer import worker_terminated
from pipelines.tracking.remembered import forget, keep_run, kept, mark_of, remembered
from pipelines.tracking.run import Run
from pipelines.tracking.store import Store, store_errors
from pipelines.tracking.tensorboard import TensorBoard, folder_name, require_tensorboard
from pipelines.tracking.trouble import TrackingError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged.

    Args:
        uri: of an MLflow store or server; default: MLFLOW_TRACKING_URI, else mlruns/mlflow.db.
        experiment: name of the experiment.
        enabled: False keeps results on disk only.
        tensorboard: also write event files below mlruns/tensorboard.
    """

    uri: str | None = None
    experiment: str = "assay"
    enabled: bool = True
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.tensorboard:
            require_tensorboard()

    def board(self, root: Path) -> Path | None:
        """Returns the folder that TensorBoard looks into, if it is asked for and on rank 0."""
        if not self.tensorboard or getattr(rank_zero_only, "rank", 0):
            return None
        return root.resolve() / "mlruns" / "tensorboard"


@dataclass(frozen=True)
class Parent:
    """The run of a command that runs other commands, whose runs become its children.

    Args:
        run: of that command.
        key: of the file that remembers it; those of its children are named after it.
    """

    run: Run
    key: str


@contextmanager
def started(
    store: Store | None,
    name: str,
    tags: dict[str, str],
    parent: Run | None = None,
    keep: Path | None = None,
    board: Path | None = None,
) -> Iterator[Run]:
    """Opens a run and ends it as FINISHED, FAILED or KILLED, whatever happens inside.

    Args:
        store: None gives a run that logs nothing to MLflow.
        name: shown in the runs table.
        tags: of the run.
        parent: this run becomes its child.
        keep: file that remembers the run until the study is finished, so that it can be reopened;
            `KEY.json`, and of a child `KEY.NAME.json`.
        board: folder that TensorBoard looks into; a child writes where its parent does.

    Raises:
        TrackingError: the store takes no run.
        UserError: TensorBoard's folder cannot be written.
    """
    run = _opened(store, name, tags, parent, keep)
    status = "FAILED"
    try:
        run.board = _board(run, name, tags, parent, keep, board)
        with terminable():
            yield run
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    except RuntimeError as error:
        if not worker_terminated(error):
            raise
        status = "KILLED"
        raise KeyboardInterrupt from error
    finally:
        ended = _end(run, status)
        if ended and status == "FINISHED" and parent is None:
            forget(keep, run)  # last: a kill before it leaves a run that is reopened, no orphan


@contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM interrupt like Ctrl-C, where signals can be caught."""

    def interrupt(*_: object) -> None:
        if hasattr(signal, "SIGCHLD"):
            # Workers get the signal too, and torch would raise for them amid what is tidied up; it
            # finds dead ones by asking too, so that nothing has to be put back.
            signal.signal(signal.SIGCHLD, lambda *_: None)
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


def _opened(
    store: Store | None, name: str, tags: dict[str, str], parent: Run | None, keep: Path | None
) -> Run:
    """Makes a run, which its parent knows by name."""
    if parent is not None:
        tags = {**tags, "mlflow.parentRunId": str(parent.run_id)}
    run = Run() if store is None else _stored(store, name, tags, keep)
    if parent is not None:
        parent.children[name] = run
    return run


def _stored(store: Store, name: str, tags: dict[str, str], keep: Path | None) -> Run:
    """Reopens the run that `keep` remembers, else makes a new one and remembers it."""
    with store_errors(f"The store {store.uri!r} takes no run"):
        found = remembered(store, keep, tags.get("mlflow.parentRunId"))
        if found is not None:
            store.client.update_run(found.info.run_id, "RUNNING")
            return Run(store, found.info.run_id, reopened=True)
        made = store.client.create_run(
            store.experiment_id, run_name=name, tags={**_default_tags(), **tags, **mark_of(keep)}
        )
    keep_run(keep, made.info.run_id, store.uri)
    return Run(store, made.info.run_id)


def _board(
    run: Run,
    name: str,
    tags: dict[str, str],
    parent: Run | None,
    keep: Path | None,
    folder: Path | None,
) -> TensorBoard | None:
    """Gives a run its folder, below its parent's; the same again if the run is resumed."""
    if parent is not None and parent.board is not None:
        folder = parent.board.folder
    if folder is None:
        return None
    key = run.run_id or kept(keep).get("run_id")
    if key is None:  # no store names the run
        key = uuid4().hex
        keep_run(keep, key, None)
    return TensorBoard(folder / folder_name(name, key), tags)


def _end(run: Run, status: str) -> bool:
    """Ends a run, and returns whether the store has taken it."""
    try:
        run.end(status)
    except TrackingError as error:
        # The store is gone: whatever went wrong before matters more than a status.
        print(f"assay: run {run.run_id} could not be marked {status}: {error}", file=sys.stderr)
        return False
    return True


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
