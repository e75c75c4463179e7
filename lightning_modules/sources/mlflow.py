"""Models that an earlier run logged."""

from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.saved_model import load_saved
from lightning_modules.sources.request import Request

if TYPE_CHECKING:
    from mlflow import MlflowClient


def from_mlflow(request: Request) -> Classifier:
    """`mlflow:runs:/RUN_ID` or `mlflow:models:/NAME@ALIAS`: a model that Assay has logged."""
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = request.rest
    try:
        if uri.startswith("runs:/") and uri.count("/") == 1:
            uri = _model_of(mlflow.MlflowClient(), uri.removeprefix("runs:/"))
        folder = download_artifacts(uri)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"mlflow:{request.rest} is not there: {str(error).splitlines()[0]} Looked in "
            f"{mlflow.get_tracking_uri()}; `--tracking.uri` names another store."
        ) from error
    return load_saved(Path(folder))


def _model_of(client: "MlflowClient", run_id: str) -> str:
    """Returns the URI of the model that a run made or measured; of a pipeline's run, its child.

    Raises:
        UserError: the run has no model.
    """
    run = client.get_run(run_id)
    children = client.search_runs(
        [run.info.experiment_id],
        f"tags.mlflow.parentRunId = '{run_id}'",
        order_by=["attributes.start_time ASC"],
    )
    for one in (run, *children):
        made = one.outputs.model_outputs if one.outputs else []
        used = one.inputs.model_inputs if one.inputs else []
        if made or used:
            return f"models:/{(made or used)[0].model_id}"
    raise UserError(f"Run {run_id!r} has no model: name one that Assay evaluated or trained.")
