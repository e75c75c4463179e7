"""What of an evaluation goes into MLflow."""

import json
from pathlib import Path
from typing import Any

from lightning_modules import Classifier
from pipelines.evaluate.result import Evaluation
from pipelines.tracking.run import Run
from pipelines.tracking.store import TrackingError


def log_evaluation(
    run: Run, evaluation: Evaluation, folder: Path, classifier: Classifier | None, digest: str
) -> None:
    """Logs an evaluation whose files are in `folder` already.

    One that was interrupted is logged without numbers: a curve of the rows so far would stay beside
    the one of all rows.

    Args:
        run: to log to.
        evaluation: the numbers.
        folder: with `evaluation.json`, rows, tables, figures and report.
        classifier: logged as a model; None logs none.
        digest: of the test data.

    Raises:
        TrackingError: the store does not take it; the files are where they were.
    """
    try:
        run.log_folder(folder)
        dataset = run.log_data(evaluation.data, digest, "test")
        model_id = run.log_model(classifier) if classifier is not None else None
        metrics = [] if evaluation.interrupted else evaluation.metrics()
        run.log_batch(metrics, params_of(evaluation), _tags(evaluation), model_id, dataset)
    except TrackingError as error:
        raise TrackingError(
            f"{error} The results are in {str(folder)!r}; run the same command again to log them, "
            "nothing is measured twice."
        ) from error


def log_headline(run: Run, evaluation: Evaluation) -> None:
    """Copies the headline numbers to the run of the pipeline, whose page shows no child's."""
    if not evaluation.interrupted:
        metrics = [one for one in evaluation.metrics() if one[0].startswith("summary/")]
        run.log_batch(metrics, tags={"mlflow.note.content": _note(evaluation)})


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


def _tags(evaluation: Evaluation) -> dict[str, str]:
    tables = [{"path": f"tables/{name}.json", "type": "table"} for name in evaluation.tables()]
    return {
        "mlflow.loggedArtifacts": json.dumps(tables),  # what `log_table` would set
        "mlflow.note.content": _note(evaluation),
        "interrupted": str(evaluation.interrupted).lower(),
    }


def _note(evaluation: Evaluation) -> str:
    """The description that the run's page shows, in Markdown."""
    lines = ["| | | 95 % interval |", "| --- | --- | --- |"]
    for name, number in evaluation.headline.items():
        if number.value == number.value:
            ends = f"{number.low:.4g} to {number.high:.4g}" if number.low == number.low else ""
            lines.append(f"| {name} | {number.value:.4g} | {ends} |")
    notes = [f"- {note}" for note in evaluation.notes]
    return "\n".join([*lines, "", *notes, "", "Open `report.html` under Artifacts."])
