"""One run in MLflow and TensorBoard: everything that can be logged to it, each thing once."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.tracking.models import log_model
from pipelines.tracking.store import Store, store_errors
from pipelines.tracking.tensorboard import TensorBoard

if TYPE_CHECKING:
    from mlflow.entities import Metric

_GONE = "The store does not take what the run logs"


class Run:
    """One run, or none where tracking is off; everything in it is logged through the client.

    A run that was reopened may hold a part of what is logged again: points and parameters that are
    there already are left alone, so that curves do not double.

    Args:
        store: None logs nothing to MLflow.
        run_id: of MLflow.
        reopened: the run has a past.
        board: takes the same for TensorBoard; first, because a local file cannot be unreachable.
    """

    def __init__(
        self,
        store: Store | None = None,
        run_id: str | None = None,
        reopened: bool = False,
        board: TensorBoard | None = None,
    ) -> None:
        self.store, self.run_id, self.reopened, self.board = store, run_id, reopened, board
        self.children: dict[str, Run] = {}

    def log_batch(
        self,
        metrics: Sequence[tuple[str, float, int]] = (),
        params: dict[str, Any] | None = None,
        tags: dict[str, Any] | None = None,
        model_id: str | None = None,
        dataset: tuple[str, str] | None = None,
    ) -> None:
        """Logs everything in one call (MLflow splits it at 1,000 metrics).

        Args:
            metrics: key with exactly one slash, value, step.
            params: flat, dotted names.
            tags: names and values.
            model_id: LoggedModel that the `summary/` numbers are about.
            dataset: name and digest of what they were measured on; goes with `model_id`.

        Raises:
            UserError: a metric key that MLflow refuses or does not group.
            TrackingError: the store does not take it.
        """
        if self.board is not None:
            points = [(checked(key), value, step) for key, value, step in metrics]
            self.board.log_batch(points, params, tags)
        if self.store is None or self.run_id is None:
            return
        from mlflow.entities import Param, RunTag

        made = [_metric(metric, model_id, dataset) for metric in metrics]
        values = {name: str(value)[:6000] for name, value in (params or {}).items()}
        with store_errors(_GONE):
            if self.reopened:
                made, values = _new(self.store, self.run_id, made, values)
            self.store.client.log_batch(
                self.run_id,
                metrics=made,
                params=[Param(name, value) for name, value in values.items()],
                tags=[RunTag(name, str(value)) for name, value in (tags or {}).items()],
            )

    def log_folder(self, folder: Path) -> None:
        """Uploads a folder's files as artifacts; TensorBoard shows its pictures."""
        if self.board is not None:
            self.board.log_folder(folder)
        if self.store is not None and self.run_id is not None:
            with store_errors(_GONE):
                self.store.client.log_artifacts(self.run_id, str(folder))

    def log_data(self, manifest: dict[str, Any], digest: str, context: str) -> tuple[str, str]:
        """Names the data set the run used, by manifest and digest; returns name and digest.

        Args:
            manifest: of the data module.
            digest: of the split.
            context: what it was used for: `train` or `test`.
        """
        named = str(manifest["name"]), digest[:32]
        if self.store is None or self.run_id is None:
            return named
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        source = CodeDatasetSource(tags={"name": named[0]})
        dataset = MetaDataset(source, name=named[0], digest=named[1])
        tag = InputTag("mlflow.data.context", context)
        with store_errors(_GONE):
            self.store.client.log_inputs(
                self.run_id, [DatasetInput(dataset._to_mlflow_entity(), [tag])]
            )
        return named

    def log_model(self, classifier: Classifier) -> str | None:
        """Ties the run to a LoggedModel that `mlflow:runs:/ID` loads again; returns its id."""
        if self.board is not None:
            self.board.log_weights(classifier.model)
        if self.store is None or self.run_id is None:
            return None
        with store_errors(_GONE):
            return log_model(self.store, self.run_id, classifier)

    def end(self, status: str) -> None:
        """Sets FINISHED, FAILED or KILLED."""
        if self.board is not None:
            self.board.end(status)
        if self.store is not None and self.run_id is not None:
            with store_errors(_GONE):
                self.store.client.set_terminated(self.run_id, status)


def checked(key: str) -> str:
    """Returns a metric key, or refuses one that the UI would not group or MLflow not take.

    Raises:
        UserError: not exactly one slash, or a character that MLflow refuses.
    """
    legal = key.isascii() and all(sign.isalnum() or sign in "_./ -" for sign in key)
    if not legal or key.count("/") != 1 or key.startswith("/") or key.endswith("/"):
        raise UserError(
            f"Expected a metric key like family/name, of letters, digits and _ . - or blank with "
            f"exactly one slash, but got {key!r}."
        )
    return key


def _metric(
    metric: tuple[str, float, int], model_id: str | None, dataset: tuple[str, str] | None
) -> "Metric":
    from mlflow.entities import Metric

    key, value, step = metric
    now = int(time.time() * 1000)
    if model_id is None or not key.startswith("summary/"):
        return Metric(checked(key), value, now, step)
    name, digest = dataset or (None, None)
    return Metric(checked(key), value, now, step, model_id, name, digest)


def _new(
    store: Store, run_id: str, metrics: list["Metric"], params: dict[str, str]
) -> tuple[list["Metric"], dict[str, str]]:
    """Leaves out what a run has; MLflow would double points and refuse other parameters."""
    data = store.client.get_run(run_id).data
    points = {
        (point.key, point.step)
        for key in {metric.key for metric in metrics} & set(data.metrics)
        for point in store.client.get_metric_history(run_id, key)
    }
    new = [metric for metric in metrics if (metric.key, metric.step) not in points]
    return new, {name: value for name, value in params.items() if name not in data.params}
