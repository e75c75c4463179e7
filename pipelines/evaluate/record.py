"""Turns a finished pass into an evaluation."""

import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np
import torch

from callbacks import Probe
from callbacks.resume import weights_digest
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.evaluate.probe_results import ProbeResult
from pipelines.evaluate.result import Evaluation


def describe(
    classifier: Classifier,
    data: ImageDataModule,
    probes: Sequence[Probe],
    run_id: str | None,
    command: str,
    seconds: float,
    precision: str,
    partial: bool = False,
) -> Evaluation:
    """Gathers rows, facts of model and data, and everything needed to repeat the measurement.

    Args:
        classifier: that was measured.
        data: it was measured on.
        probes: after the pass.
        run_id: of MLflow, None without tracking.
        command: as typed.
        seconds: the pass took.
        precision: of the Trainer.
        partial: the pass was interrupted: take the rows so far.
    """
    results = [
        ProbeResult(
            name=probe.name,
            family=probe.family,
            title=probe.title,
            unit=probe.unit,
            algorithm=probe.algorithm,
            headline=getattr(probe, "headline", None),
            reported=tuple(probe.reported),
            rows=probe.rows_so_far() if partial else probe.rows,
        )
        for probe in probes
    ]
    return Evaluation(
        model=_model(classifier),
        data=data.manifest(),
        results=results,
        environment=_environment(classifier, precision),
        command=command,
        seed=probes[0].seed,
        seconds=seconds,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        run_id=run_id,
        notes=_notes(data, results),
        interrupted=partial,
    )


def _model(classifier: Classifier) -> dict:
    return {
        "name": classifier.architecture.rpartition(":")[2],
        "source": classifier.source,
        "architecture": classifier.architecture,
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "digest": weights_digest(classifier)[:16],
        "classes": list(classifier.classes),
    }


def _environment(classifier: Classifier, precision: str) -> dict:
    device = classifier.device
    names = ("assay", "torch", "torchvision", "lightning", "mlflow")
    return {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.machine(),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "chunk": classifier.chunk,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def _notes(data: ImageDataModule, results: list[ProbeResult]) -> list[str]:
    notes = list(data.notes)
    if data.skipped:
        notes.append(f"{len(data.skipped)} files that are no images were left out.")
    n = len(data.test_index)
    parts: dict[int, list[str]] = {}
    for result in results:
        parts.setdefault(result.rows["index"].nunique(), []).append(result.title)
        if strange := int((~np.isfinite(result.rows["loss"])).sum()):
            notes.append(
                f"{result.title}: {strange:,} answers are not finite; they count as wrong, and "
                "mean losses leave them out."
            )
    return notes + [
        f"{', '.join(titles)}: measured on {measured:,} of {n:,} samples."
        for measured, titles in parts.items()
        if measured < n
    ]
