"""What of a result goes into a run: the same for every question."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callbacks.words import ends, number, percent
from lightning_modules import Classifier
from pipelines.report.result import Result, summary_metrics
from pipelines.tracking.run import Run
from pipelines.tracking.trouble import NotLoggedError, TrackingError

_LONGEST = 8000
"""Characters of a tag; MLflow cuts longer ones anywhere, and warns."""
_POINTER = "Open `report.html` under Artifacts."


def log_result(
    run: Run, result: Result, folder: Path, classifier: Classifier | None = None
) -> None:
    """Logs a result whose files are in `folder` already.

    One that was interrupted is logged without numbers: a curve of the rows so far would stay beside
    the one of all rows.

    Args:
        run: to log to.
        result: its numbers, parameters and words.
        folder: with its rows, tables, figures and page.
        classifier: logged as a model; None logs none.

    Raises:
        NotLoggedError: the store does not take it; the files are where they were.
    """
    about = result.about
    try:
        run.log_folder(folder)
        datasets = [run.log_data(dict(data), str(data["digest"]), "test") for data in about.data]
        model_id = run.log_model(classifier) if classifier is not None else None
        metrics = [] if about.interrupted else [*result.metrics(), *summary_metrics(result)]
        dataset = datasets[0] if datasets else None
        run.log_batch(metrics, parameters_of(result), tags_of(result), model_id, dataset)
    except TrackingError as error:
        raise NotLoggedError(
            f"{error} The results are in {str(folder)!r}; run the same command again to log them, "
            "nothing is measured twice."
        ) from error


def parameters_of(result: Result) -> dict[str, Any]:
    """The few parameters a reader compares runs by; the whole configuration is `config.yaml`."""
    about = result.about
    parameters: dict[str, Any] = {"seed": about.seed}
    for name in ("source", "architecture", "parameters", "digest") if about.models else ():
        parameters[f"model.{name}"] = _joined([model[name] for model in about.models])
    if about.models and all(
        "input_told" in model for model in about.models
    ):  # older results do not say it
        parameters["model.input"] = _joined([model["input_told"] for model in about.models])
    parameters["data.name"] = _joined([data.get("title", data["name"]) for data in about.data])
    parameters["data.samples"] = _joined([d["splits"]["test"]["samples"] for d in about.data])
    for name in ("precision", "device"):
        if name in about.environment:
            parameters[name] = about.environment[name]
    return {**parameters, **result.parameters()}


def tags_of(result: Result) -> dict[str, str]:
    """The run's description, and which files are tables that MLflow compares."""
    tables = [{"path": f"tables/{name}.json", "type": "table"} for name in result.tables()]
    return {
        "mlflow.loggedArtifacts": json.dumps(tables),  # what `log_table` would set
        "mlflow.note.content": _note(result),
        "interrupted": str(result.about.interrupted).lower(),
    }


def _note(result: Result) -> str:
    """The description that the run's page shows, in Markdown; whole lines, as many as fit."""
    lines = ["| | | 95 % interval |", "| --- | --- | --- |"]
    for headline_number in result.headline().values():
        value, low, high = headline_number.interval
        if value == value:
            share = headline_number.unit == "%"
            text = f"{percent(value)} %" if share else number(value)
            between = ends(low, high, 100, 1) if share else ends(low, high)
            lines.append(
                f"| {headline_number.title}: {headline_number.note} | {text} | {between} |"
            )
    notes = [f"- {note}" for note in result.about.notes]
    sentences = [f"{sentence}\n" for sentence in result.sentences()]
    return _fitting([*sentences, *lines, "", *notes, "", _POINTER])


def _fitting(lines: Sequence[str]) -> str:
    """All lines, or the first that fit and how many are left out; the last one is a pointer."""
    whole = "\n".join(lines)
    if len(whole) <= _LONGEST:
        return whole
    left = f"\n\nLines left out here, as MLflow keeps {_LONGEST:,} characters: {{}}. {_POINTER}"
    room, kept = _LONGEST - len(left) - len(str(len(lines))), 0
    while kept < len(lines) and (room := room - len(lines[kept]) - 1) >= 0:
        kept += 1
    return "\n".join(lines[:kept]) + left.format(f"{len(lines) - 1 - kept:,}")


def _joined(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else ", ".join(map(str, values))
