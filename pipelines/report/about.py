"""What a result is about, and everything that is needed to get it again."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch

from callbacks.digests import weights_digest
from datamodules import ImageDataModule
from lightning_modules import Classifier

_PACKAGES = ("assay", "torch", "torchvision", "lightning", "mlflow")


@dataclass(frozen=True)
class About:
    """Models, data, command and circumstances of a result.

    Args:
        command: as typed.
        seed: of every random number.
        models: facts of each: name, source, architecture, parameters, digest, classes, input.
        data: manifest of each data set.
        environment: versions, device, precision, threads, chunk.
        seconds: from start to end.
        created: ISO time.
        run_id: of MLflow.
        notes: what decides how far the numbers can be trusted.
        interrupted: these are only the rows so far.
        examples: of each data set, by its title, some images; see `examples_of`.
    """

    command: str = ""
    seed: int = 0
    models: Sequence[Mapping[str, Any]] = ()
    data: Sequence[Mapping[str, Any]] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    created: str = ""
    run_id: str | None = None
    notes: Sequence[str] = ()
    interrupted: bool = False
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def model(self) -> Mapping[str, Any]:
        """Facts of the one model, or of the first."""
        return self.models[0]

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Manifest of the one data set, or of the first."""
        return self.data[0]

    def with_notes(self, notes: Sequence[str]) -> "About":
        """The same with other notes, each once."""
        return replace(self, notes=list(dict.fromkeys(notes)))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)


def model_facts(classifier: Classifier) -> dict[str, Any]:
    """What tells a model from others, and what it was shown."""
    return {
        "name": classifier.architecture.rpartition(":")[2].replace("/", "-"),
        "source": classifier.source,
        "architecture": classifier.architecture,
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "digest": weights_digest(classifier)[:16],
        "classes": list(classifier.classes),
        "input": classifier.preprocessing.as_dict(),
        "input_told": classifier.input_line,
        "answers": classifier.facts.get("answers", "logits"),
    }


def data_facts(data: ImageDataModule) -> dict[str, Any]:
    """The manifest of the splits that were used, under the name that tells folders apart."""
    return {**data.manifest(), "title": data.title}


def environment(device: torch.device, precision: str, chunk: int) -> dict[str, Any]:
    """Device, precision and versions: what another machine would have to have."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.machine(),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "chunk": chunk,
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
