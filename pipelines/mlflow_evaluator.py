"""`mlflow.models.evaluate(..., evaluators="assay")`: Assay's measurements in MLflow's own call.

MLflow imports this file wherever it evaluates a model, so nothing heavy is imported before Assay
is asked for: an `evaluator_config` without `pixels` asks for other evaluators.
"""

import inspect
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlflow.models.evaluation import EvaluationResult, ModelEvaluator
from mlflow.models.evaluation.artifacts import TextEvaluationArtifact

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipelines.report.result import Result

_logger = logging.getLogger(f"mlflow.{__name__}")
_OWN = ("pixels", "shape", "layout", "model", "root", "col_mapping")
_WHAT = ("probes", "corruption", "attack")


class AssayEvaluator(ModelEvaluator):
    """Measures a classifier of images as `assay evaluate` does, and logs to the run of MLflow.

    `evaluator_config` holds

    - `pixels`: 0..1 or 0..255, and `shape`: `[H, W, C]`, as MLflow hands images over as rows of
      numbers; `layout`: HWC or CHW;
    - `model`: instead of MLflow's, with gradients: a source as `mlflow:models:/NAME@ALIAS` (what
      an Assay command logged is no pyfunc), or a network; it takes images as `mean` and `std` say;
    - `root`: folder that keeps rows to go on after a kill; default: a folder for this call;
    - every option of `pipelines.evaluate`: `probes`, `preset`, `attack`, `chunk`, ... A pyfunc only
      answers, so that nothing but the undisturbed images is measured unless these name more.
    """

    name = "assay"

    @classmethod
    def can_evaluate(
        cls, *, model_type: str, evaluator_config: Mapping[str, Any] | None, **_: Any
    ) -> bool:
        """Whether it is a classifier, and the configuration speaks of images."""
        asked = "pixels" in (evaluator_config or {})
        if model_type == "classifier" and not asked:
            _logger.info("assay is left out: its evaluator_config lacks `pixels`, 0..1 or 0..255.")
        return model_type == "classifier" and asked

    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]  # typed None by mistake
        self,
        *,
        model_type: str,
        dataset: Any,
        run_id: str,
        evaluator_config: Mapping[str, Any] | None,
        model: Any = None,
        extra_metrics: Any = None,
        custom_artifacts: Any = None,
        predictions: Any = None,
        model_id: str | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Runs the pass and logs numbers, rows and page; see the class for the configuration.

        Raises:
            UserError: something the user can mend.
        """
        from datamodules.errors import UserError

        given = {"extra_metrics": extra_metrics, "custom_artifacts": custom_artifacts}
        given |= {"predictions": predictions if predictions is not None else _answers(dataset)}
        if extra := [name for name, value in given.items() if value is not None]:
            raise UserError(f"Expected no `{extra[0]}`: the assay evaluator asks the model itself.")
        config = dict(evaluator_config or {})
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(config.get("root") or scratch)
            result = _measured(model, dataset, config, root)
            result = replace(result, about=replace(result.about, run_id=run_id))
            return _logged(result, run_id, Path(scratch) / "result", linked=model_id is not None)


def _answers(dataset: Any) -> Any:
    return dataset.predictions_data if dataset.has_predictions else None


def _measured(model: Any, dataset: Any, config: dict[str, Any], root: Path) -> Any:
    """The evaluation of a model of MLflow, or of the configuration."""
    import mlflow

    from datamodules.errors import UserError, suggestion
    from datamodules.torch_data import TorchData
    from pipelines.evaluate.command import evaluate
    from pipelines.mlflow_rows import labels_of, read_rows
    from pipelines.study import Options
    from pipelines.tracking import Tracking

    options = {name: value for name, value in config.items() if name not in _OWN}
    known = (*inspect.signature(evaluate).parameters, *Options.__annotations__)
    if unknown := [name for name in options if name not in known]:
        hint = suggestion(unknown[0], [*_OWN, *known])
        raise UserError(f"There is no {unknown[0]!r} in `evaluator_config`.{hint}")
    if "tracking" in options or "data" in options:
        raise UserError("Expected no `tracking` and no `data`: both are those of the MLflow call.")
    form, image = read_rows(_in_order(dataset.features_data, model), config)
    classes = options.get("classes")
    label = labels_of(dataset.labels_data if dataset.has_targets else None, classes)
    name = dataset.name if dataset.name != dataset.hash else f"rows-{dataset.hash[:8]}"
    data = TorchData((image, label), classes=classes, name=name)
    subject = config.get("model")
    if (subject is None) == (model is None):
        raise UserError(
            "Expected one model: either `model` of mlflow.models.evaluate, or of evaluator_config."
        )
    if subject is None:
        subject, options = _black_box(model, form, image, options)
    tracking = Tracking(mlflow.get_tracking_uri(), enabled=False)  # `_logged` writes to the run
    options = {"adversarials": 0, **options, "tracking": tracking, "root": root}
    return evaluate(subject, data, **options)


def _in_order(features: Any, model: Any) -> Any:
    """A table with its columns as the model's signature has them, which MLflow puts in that order.

    In another order the pixels of a row are no picture, which corruptions would be carried out on.
    """
    schema = model.metadata.get_input_schema() if getattr(model, "metadata", None) else None
    if schema is None or not schema.has_input_names() or not hasattr(features, "columns"):
        return features
    names = schema.input_names()
    same = sorted(map(str, names)) == sorted(map(str, features.columns))
    return features[names] if same else features


def _black_box(
    model: Any, form: Any, image: "Tensor", options: dict[str, Any]
) -> tuple["nn.Module", dict[str, Any]]:
    """A pyfunc as a network, tried once, and what to measure of it where nothing is named."""
    from pipelines.mlflow_rows import RowNetwork

    metadata = getattr(model, "metadata", None)
    identity = str(getattr(metadata, "model_uuid", None) or uuid4())
    network = RowNetwork(model, form, identity, options.get("classes"))
    network(image[:1] / 255 if not image.is_floating_point() else image[:1])
    named = any(options.get(what) for what in _WHAT)
    return network, options if named else {"probes": ["clean"], **options}


def _logged(result: "Result", run_id: str, folder: Path, linked: bool) -> EvaluationResult:
    """Writes a result to the run that MLflow opened, whose description and tags stay its own.

    Args:
        result: of the evaluation.
        run_id: of MLflow.
        folder: to write before it is uploaded.
        linked: whether MLflow itself logs what is returned, and ties it to the model.
    """
    import mlflow

    from pipelines.report.page import write_page
    from pipelines.report.result import save_result, summary_metrics
    from pipelines.study.log import parameters_of
    from pipelines.tracking import Run, Store

    save_result(result, folder)
    page = write_page([result], folder / "report.html")
    client = mlflow.MlflowClient()
    info = client.get_run(run_id).info
    run = Run(Store(client, mlflow.get_tracking_uri(), info.experiment_id), run_id, reopened=True)
    run.log_folder(folder)
    summary = summary_metrics(result)
    points = [*result.metrics(), *(() if linked else summary)]
    run.log_batch(points, parameters_of(result))
    metrics = {key: value for key, value, _ in summary}
    text = page.read_text(encoding="utf-8")
    artifact = TextEvaluationArtifact(f"{info.artifact_uri}/report.html", text)
    return EvaluationResult(metrics, {"report.html": artifact}, run_id)
