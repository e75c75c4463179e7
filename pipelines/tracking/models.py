"""Models in MLflow: as safetensors and JSON, once for every experiment."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from callbacks.digests import weights_digest
from callbacks.shards import fingerprint
from lightning_modules import Classifier, save_classifier
from pipelines.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel


def log_model(store: Store, run_id: str, classifier: Classifier) -> str:
    """Ties a run to a LoggedModel that `mlflow:runs:/ID` loads again, and returns the model's id.

    A model that the experiment has already becomes an input of the run instead of a second copy,
    for instance when what was trained is evaluated.

    Args:
        store: open.
        run_id: of the run.
        classifier: whose weights, classes and preprocessing are kept.
    """
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    digest = _digest(classifier)
    known = _known(store, digest)
    if known is None:
        with _made(store, run_id, classifier, digest) as model:
            _upload(store, model, classifier)
        store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        return model.model_id
    if known not in _tied(store, run_id):
        store.client.log_inputs(run_id, models=[LoggedModelInput(known)])
    return known


def _digest(classifier: Classifier) -> str:
    """Hashes everything that decides the classifier's answers and their names."""
    return fingerprint(
        {
            "weights": weights_digest(classifier),
            "architecture": classifier.architecture,
            "classes": list(classifier.classes),
            "preprocessing": repr(classifier.preprocessing),
        }
    )


def _known(store: Store, digest: str) -> str | None:
    """The experiment's complete model of that digest."""
    from mlflow.entities import LoggedModelStatus

    found = store.client.search_logged_models([store.experiment_id], f"params.digest = '{digest}'")
    ready = [one.model_id for one in found if one.status == LoggedModelStatus.READY]
    return ready[0] if ready else None


def _tied(store: Store, run_id: str) -> set[str]:
    """The models that a run made or used so far."""
    run = store.client.get_run(run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    inputs = run.inputs.model_inputs if run.inputs else []
    return {one.model_id for one in [*outputs, *inputs]}


def _upload(store: Store, model: "LoggedModel", classifier: Classifier) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_classifier(classifier, Path(folder))
        store.client.log_model_artifacts(model.model_id, folder)


@contextmanager
def _made(
    store: Store, run_id: str, classifier: Classifier, digest: str
) -> Iterator["LoggedModel"]:
    """Makes a LoggedModel that is ready once it is filled, and failed if it was not."""
    from mlflow.entities import LoggedModelStatus

    name = classifier.architecture.rpartition(":")[2]
    model = store.client.create_logged_model(
        store.experiment_id,
        name="".join("-" if sign in "/:.%\"'" else sign for sign in name),  # which MLflow refuses
        source_run_id=run_id,
        params={"digest": digest, "architecture": classifier.architecture},
    )
    status = LoggedModelStatus.FAILED
    try:
        yield model
        status = LoggedModelStatus.READY
    finally:
        store.client.finalize_logged_model(model.model_id, status)
