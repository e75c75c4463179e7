"""A pipeline's runs in MLflow: a parent, its children, and how they end."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules import Classifier, save_classifier
from pipelines.evaluation import Evaluation
from pipelines.store import Store, TrackingError, open_store

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


class Run:
    """One run, or none where tracking is off; everything in it is logged through the client.

    Args:
        store: None logs nothing.
        run_id: of MLflow.
    """

    def __init__(self, store: Store | None = None, run_id: str | None = None) -> None:
        self.store, self.run_id = store, run_id

    def log_batch(
        self,
        metrics: Sequence[tuple[str, float, int]] = (),
        params: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Logs everything in one call (MLflow splits it at 1,000 metrics).

        Args:
            metrics: key with exactly one slash, value, step.
            params: flat, dotted names.
            tags: names and values.
        """
        if self.store is None:
            return
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        self.store.client.log_batch(
            self.run_id,
            metrics=[Metric(checked(key), value, now, step) for key, value, step in metrics],
            params=[Param(key, str(value)[:6000]) for key, value in (params or {}).items()],
            tags=[RunTag(key, str(value)) for key, value in (tags or {}).items()],
        )

    def log_folder(self, folder: Path) -> None:
        """Uploads a folder's files as artifacts."""
        if self.store is not None:
            self.store.client.log_artifacts(self.run_id, str(folder))

    def log_table(self, file: str, table: Any) -> None:
        """Logs a data frame so that MLflow lays the same table of several runs side by side."""
        if self.store is not None:
            self.store.client.log_table(self.run_id, table, file)

    def log_data(self, manifest: dict[str, Any], digest: str, context: str) -> None:
        """Names the data set the run used, by manifest and digest."""
        if self.store is None:
            return
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        source = CodeDatasetSource(tags={"name": manifest["name"]})
        dataset = MetaDataset(source, name=manifest["name"], digest=digest[:32])
        tag = InputTag("mlflow.data.context", context)
        entity = DatasetInput(dataset._to_mlflow_entity(), [tag])
        self.store.client.log_inputs(self.run_id, [entity])

    def log_model(self, classifier: Classifier, folder: Path) -> None:
        """Logs weights and facts as a LoggedModel that `mlflow:runs:/ID` loads again."""
        if self.store is None:
            return
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        client = self.store.client
        save_classifier(classifier, folder)
        model = client.create_logged_model(
            self.store.experiment_id, name="model", source_run_id=self.run_id
        )
        client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
        client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, 0)])

    def end(self, status: str) -> None:
        """Sets FINISHED, FAILED or KILLED."""
        if self.store is not None:
            self.store.client.set_terminated(self.run_id, status)


def checked(key: str) -> str:
    """Returns a metric key, or refuses one that the UI would not group or MLflow not take.

    Raises:
        ValueError: not exactly one slash, or a character that MLflow refuses.
    """
    legal = all(letter.isalnum() or letter in "_./ -" for letter in key) and key.isascii()
    if not legal or key.count("/") != 1 or key.startswith("/") or key.endswith("/"):
        raise ValueError(f"Expected a metric key like family/name of [A-Za-z0-9_. -], got {key!r}.")
    return key


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
    """
    if store is None:
        with _terminable():
            yield Run()
        return
    tags = {**_default_tags(), **tags}
    if parent is not None:
        tags["mlflow.parentRunId"] = str(parent.run_id)
    found = _reopened(store, keep) or store.client.create_run(
        store.experiment_id, run_name=name, tags=tags
    )
    run = Run(store, found.info.run_id)
    if keep:
        keep.parent.mkdir(parents=True, exist_ok=True)
        keep.write_text(json.dumps({"run_id": run.run_id, "uri": store.uri}))
    status = "FAILED"
    try:
        with _terminable():
            yield run
        status = "FINISHED"
        if keep:
            keep.unlink(missing_ok=True)
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _end(run, status)


def _end(run: Run, status: str) -> None:
    try:
        run.end(status)
    except Exception as error:
        # The store is gone: whatever went wrong before matters more than a status.
        print(f"assay: run {run.run_id} could not be marked {status}: {type(error).__name__}")


def _reopened(store: Store, keep: Path | None) -> "MlflowRun | None":
    """Returns the unfinished run that a file remembers, reopened."""
    from mlflow.exceptions import MlflowException

    if keep is None or not keep.is_file():
        return None
    try:
        known = json.loads(keep.read_text())
        run = store.client.get_run(known["run_id"])
    except (MlflowException, json.JSONDecodeError, KeyError):
        return None
    if known["uri"] != store.uri or run.info.lifecycle_stage != "active":
        return None
    store.client.update_run(run.info.run_id, "RUNNING")
    return run


@contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM end the run like Ctrl-C, where signals can be caught."""

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


def _default_tags() -> dict[str, str]:
    """User, and the commit of the folder the program was started in."""
    from mlflow.tracking.context.registry import resolve_tags

    tags = resolve_tags()
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if answer.returncode == 0:
        tags["mlflow.source.git.commit"] = answer.stdout.strip()
    return tags


def log_evaluation(
    run: Run, evaluation: Evaluation, folder: Path, classifier: Classifier, digest: str
) -> None:
    """Logs an evaluation whose files are in `folder` already.

    Args:
        run: to log to.
        evaluation: the numbers.
        folder: with `evaluation.json`, rows, figures and report.
        classifier: logged as a model.
        digest: of the test data.

    Raises:
        TrackingError: the store does not take it; the files are where they were.
    """
    from mlflow.exceptions import MlflowException

    try:
        run.log_batch(evaluation.metrics(), params_of(evaluation))
        run.log_folder(folder)
        tables = [result.table.assign(probe=result.name) for result in evaluation.results]
        for table, result in zip(tables, evaluation.results, strict=True):
            run.log_table(f"tables/{result.name}.json", table)
        run.log_data(evaluation.data, digest, "test")
        run.log_model(classifier, folder.parent / f"{folder.name}-model")
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"The store does not take the results ({str(error).splitlines()[0][:160]}). They are in "
            f"{str(folder)!r}; run the same command again to log them, nothing is measured twice."
        ) from error


def params_of(evaluation: Evaluation) -> dict[str, Any]:
    """The few parameters a reader compares runs by; the whole configuration is `config.yaml`."""
    model, data, environment = evaluation.model, evaluation.data, evaluation.environment
    return {
        "model.source": model["source"],
        "model.architecture": model["architecture"],
        "model.parameters": model["parameters"],
        "model.digest": model["digest"],
        "data.name": data["name"],
        "data.samples": data["splits"]["test"]["samples"],
        "seed": evaluation.seed,
        "precision": environment["precision"],
        "device": environment["device"],
        **{f"probe.{one.name}": one.algorithm for one in evaluation.results},
    }


__all__ = ["Run", "Store", "Tracking", "TrackingError", "log_evaluation", "open_store", "started"]
