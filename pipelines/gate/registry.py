"""The model registry: which version a run is about, what an alias stands for, and setting it."""

from typing import TYPE_CHECKING, Any

from datamodules.errors import UserError
from pipelines.tracking.store import connected, store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

JUDGED = "assay.gate.run"
"""Tag of a model version: the run that passed the gate for it."""
_MODELS = "models:/"


def run_of_model(uri: str, store: str) -> str:
    """The run that stands for a registered model: that which passed the gate, else its source.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`; anything else comes back as it is.
        store: from `resolved_uri`.

    Raises:
        UserError: there is no such version, or no run made it.
    """
    if not uri.startswith(_MODELS):
        return uri
    version = _version(connected(store), uri.removeprefix(_MODELS), store)
    run = (version.tags or {}).get(JUDGED) or version.run_id
    if not run:
        raise UserError(
            f"{uri} has no source run to compare with: name a run, or register a model that an "
            "Assay command logged."
        )
    return str(run)


def version_of_run(run: str | None, named: str | None, store: str) -> "ModelVersion":
    """The registered version of the model that a run made or measured; the newest of several.

    Args:
        run: MLflow run id.
        named: `NAME/VERSION` or `NAME@ALIAS` that must be it; None looks for it.
        store: from `resolved_uri`.

    Raises:
        UserError: there is none, or it is of another model.
    """
    if run is None:
        raise UserError("Expected a run that MLflow knows for `--alias` and `--tag`, not a folder.")
    client = connected(store)
    with store_errors(f"Run {run!r} cannot be read"):
        models = _models_of(client, run)
    if named is not None:
        version = _version(client, named.removeprefix(_MODELS), store)
        if not _is_of(version, run, models):
            raise UserError(
                f"Version {version.version} of {version.name!r} is not the model of run {run}: its "
                f"source run is {version.run_id or 'unknown'}."
            )
        return version
    with store_errors("The model registry cannot be searched"):
        found = [one for one in _all_versions(client) if _is_of(one, run, models)]
    if not found:
        raise UserError(
            f"The store has no registered model version of run {run}: register it first, as "
            f"mlflow.register_model('models:/{next(iter(models), 'MODEL_ID')}', 'NAME')."
        )
    if len({one.name for one in found}) > 1:
        told = ", ".join(f"{one.name}/{one.version}" for one in found)
        raise UserError(f"Run {run} is the source of {told}: name one by `--model_version`.")
    return max(found, key=lambda one: int(one.version))


def mark(
    version: "ModelVersion", store: str, run: str, alias: str | None, tag: tuple[str, str] | None
) -> str:
    """Sets alias and tag on a version whose run passed, and says so.

    Args:
        version: from `version_of_run`.
        store: from `resolved_uri`.
        run: that passed.
        alias: that the version gets.
        tag: name and value.
    """
    client, told = connected(store), []
    name, number = version.name, str(version.version)
    with store_errors(f"Version {number} of {name!r} cannot be marked"):
        client.set_model_version_tag(name, number, JUDGED, run)
        if tag is not None:
            client.set_model_version_tag(name, number, *tag)
            told.append(f"tag {tag[0]}={tag[1]}")
        if alias is not None:
            client.set_registered_model_alias(name, alias, number)
            told.append(f"alias {alias}")
    return f"{' and '.join(told)} on version {number} of {name}"


def _models_of(client: "MlflowClient", run: str) -> set[str]:
    """Ids of the models that a run made or measured."""
    found = client.get_run(run)
    made = found.outputs.model_outputs if found.outputs else []
    used = found.inputs.model_inputs if found.inputs else []
    return {str(one.model_id) for one in [*made, *used]}


def _is_of(version: "ModelVersion", run: str, models: set[str]) -> bool:
    # A store in a database keeps the id of the model in the version's source alone.
    return version.run_id == run or any(model in str(version.source) for model in models)


def _all_versions(client: "MlflowClient") -> "list[ModelVersion]":
    versions: list[Any] = []
    page = None
    while page is None or page.token:
        page = client.search_model_versions(page_token=page.token if page else None)
        versions += page
    return versions


def _version(client: "MlflowClient", named: str, store: str) -> "ModelVersion":
    """Of `NAME@ALIAS` or `NAME/VERSION`."""
    from mlflow.exceptions import MlflowException

    name, at, alias = named.partition("@")
    try:
        if at:
            return client.get_model_version_by_alias(name, alias)
        name, _, version = named.rpartition("/")
        return client.get_model_version(name, version)
    except MlflowException as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"There is no model version {named!r} in {store}: {reason}") from error
