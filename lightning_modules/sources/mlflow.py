"""Models that an earlier run logged, Assay's or anybody's."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datamodules.errors import UserError, suggestion
from lightning_modules.classifier import Classifier
from lightning_modules.sources.checkpoint import from_checkpoint
from lightning_modules.sources.request import Request

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


def from_mlflow(request: Request) -> Classifier:
    """`mlflow:runs:/RUN_ID[/NAME]` or `mlflow:models:/NAME@ALIAS`: a model that was logged."""
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri, note = request.rest, ""
    try:
        if uri.startswith("runs:/"):
            run_id, _, name = uri.removeprefix("runs:/").strip("/").partition("/")
            uri, note = _model_of(mlflow.MlflowClient(), run_id, name)
        folder = download_artifacts(uri)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"mlflow:{request.rest} is not there: {str(error).splitlines()[0]} Looked in "
            f"{mlflow.get_tracking_uri()}; `--tracking.uri` names another store."
        ) from error
    classifier = from_checkpoint(replace(request, rest=str(Path(folder))))
    classifier.note(note)
    return classifier


def _model_of(client: "MlflowClient", run_id: str, name: str) -> tuple[str, str]:
    """Finds the model that a run made or measured; of a pipeline's run, its child's.

    Returns:
        Its URI, and what was chosen where there were several.

    Raises:
        UserError: the run has no model, or none of that name.
    """
    models = _models(client, run_id)
    if name:
        named = [model for model in models if name in (model.name, model.model_id)]
        if not named and models:
            known = {str(model.name) for model in models}
            raise UserError(f"Run {run_id!r} has no model {name!r}.{suggestion(name, known)}")
        # Before MLflow 3 a model was a folder among the run's artifacts.
        return (named[-1].model_uri if named else f"runs:/{run_id}/{name}"), ""
    if not models:
        raise UserError(f"Run {run_id!r} has no model: name one that was evaluated or trained.")
    chosen = models[-1]
    names = list(dict.fromkeys(str(model.name) for model in models if model is not chosen))
    if not names:
        return chosen.model_uri, ""
    return chosen.model_uri, (
        f"took the model {chosen.name!r} that run {run_id} logged last, of {len(models)} (also "
        f"{', '.join(names)}; mlflow:runs:/{run_id}/NAME takes another)"
    )


def _models(client: "MlflowClient", run_id: str) -> "list[LoggedModel]":
    """The models of the first of a run and its children that has some, in the order of logging."""
    run = client.get_run(run_id)
    children = client.search_runs(
        [run.info.experiment_id],
        f"tags.mlflow.parentRunId = '{run_id}'",
        order_by=["attributes.start_time ASC"],
    )
    for part in (run, *children):
        logged_outputs = part.outputs.model_outputs if part.outputs else []
        used = part.inputs.model_inputs if part.inputs else []
        if logged_outputs or used:
            return _in_order(client, logged_outputs or used)
    return []


def _in_order(client: "MlflowClient", ties: list[Any]) -> "list[LoggedModel]":
    """By step, then by time; a run that used a model before has no step for it."""
    logged = [(getattr(tie, "step", 0) or 0, client.get_logged_model(tie.model_id)) for tie in ties]
    logged.sort(key=lambda pair: (pair[0], pair[1].creation_timestamp))
    return [model for _, model in logged]
