"""Which run belongs to which unfinished command: a file remembers it, so that it is reopened."""

import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.tracking.run import Run
from pipelines.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun


_PARENT = "mlflow.parentRunId"


def remembered(store: Store, keep: Path | None, parent_id: str | None) -> "MlflowRun | None":
    """Returns the unfinished run that a file names, if the store still has it.

    Args:
        store: open.
        keep: the file.
        parent_id: of the run that it must be a child of; None where it is nobody's.
    """
    from mlflow.exceptions import MlflowException

    known = kept(keep)
    if keep is not None and not known:
        found = _orphan(store, keep)
        return found if found and found.data.tags.get(_PARENT) == parent_id else None
    try:
        run = store.client.get_run(known["run_id"])
    except (MlflowException, KeyError):
        return None
    here = known.get("uri") == store.uri and run.info.experiment_id == store.experiment_id
    here = here and run.data.tags.get(_PARENT) == parent_id
    return run if here and run.info.lifecycle_stage == "active" else None


def keep_run(file: Path | None, run_id: str, uri: str | None) -> None:
    """Writes down which run it is, and in which store."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"run_id": run_id, "uri": uri}))


def forget(file: Path | None, run: Run) -> None:
    """Drops the memory of a finished run and its children; one MLflow has begun waits for MLflow.

    Children are remembered until then: a command that goes on after a kill passes by those that
    are finished, and must not make them a second time.
    """
    own = run.store is not None or (run.board is not None and kept(file).get("uri") is None)
    if file is not None and own:
        for one in (file, *file.parent.glob(f"{file.stem}.*.json")):
            one.unlink(missing_ok=True)


def kept(file: Path | None) -> dict[str, Any]:
    """What a file remembers of a run; nothing if it is spoiled."""
    try:
        found = json.loads(file.read_text()) if file is not None and file.is_file() else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _orphan(store: Store, keep: Path) -> "MlflowRun | None":
    """The run of a process that was killed after it had made it, and before it wrote that down."""
    ((name, value),) = mark_of(keep).items()
    found = store.client.search_runs(
        [store.experiment_id], f"tags.`{name}` = '{value}' and attributes.status = 'RUNNING'"
    )
    return found[0] if found else None


def mark_of(keep: Path | None) -> dict[str, str]:
    """A tag by which a run is found that no file remembers; of this machine and folder alone."""
    if keep is None:
        return {}
    where = f"{platform.node()}:{keep}"
    return {"assay.kept_as": hashlib.sha256(where.encode()).hexdigest()[:32]}
