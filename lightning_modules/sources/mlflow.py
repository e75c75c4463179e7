"""Models that an earlier run logged."""

from pathlib import Path

from datamodules.errors import UserError
from lightning_modules.classifier import Classifier
from lightning_modules.saved_model import load_saved
from lightning_modules.sources.request import Request


def from_mlflow(request: Request) -> Classifier:
    """`mlflow:runs:/RUN_ID` or `mlflow:models:/NAME@ALIAS`: a model that Assay has logged."""
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = request.rest
    if uri.startswith("runs:/") and uri.count("/") == 1:
        uri += "/model"
    try:
        folder = download_artifacts(uri)
    except (MlflowException, OSError) as error:
        raise UserError(
            f"mlflow:{request.rest} is not there: {str(error).splitlines()[0]} Looked in "
            f"{mlflow.get_tracking_uri()}; `--tracking.uri` names another store."
        ) from error
    return load_saved(Path(folder))
