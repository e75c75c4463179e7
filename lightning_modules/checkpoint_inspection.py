"""Looks into a checkpoint: what it is, what is in it, and the command to type for it."""

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.architecture_guess import (
    answers,
    closest,
    fitted,
    fitting,
    parameters_in,
    shapes_of,
    side_of,
)
from lightning_modules.architectures import ARCHITECTURES
from lightning_modules.checkpoint_files.kinds import NETWORKS, Kind, file_kind
from lightning_modules.checkpoint_files.logged import logged_file
from lightning_modules.head_guess import head_outputs_of
from lightning_modules.sealed_inspection import Sealed, folder_facts, sealed_facts
from lightning_modules.weights_choice import plain_weights
from lightning_modules.weights_file import WeightsFile, read_weights


@dataclass(frozen=True)
class Inspection:
    """What a look into a checkpoint found.

    Args:
        path: of the file.
        kind: of the file.
        keys: name, shape and type of every tensor of the set of weights that would be taken.
        parameters: numbers besides the running statistics of batch norm.
        architecture: the one that loads the weights, or that the file names itself; else None.
        alternatives: others with most names in common, best first.
        classes: outputs of the head; None where no layer is clearly the head.
        channels: of the images.
        size: side of the images, where the architecture or the file says so.
        not_finite: numbers that are NaN or infinite.
        sets: names of all sets of weights, the one that would be taken first.
        notes: what was chosen, composed, left out or not run.
        trust: whether running it needs `--trust_pickle true`.
    """

    path: Path
    kind: str
    keys: dict[str, str]
    parameters: int
    architecture: str | None
    alternatives: list[str]
    classes: int | None
    channels: int
    size: int | None
    not_finite: int
    sets: list[str]
    notes: list[str]
    trust: bool = False

    @property
    def brings_network(self) -> bool:
        """Whether it is loaded without `--arch`."""
        return self.kind in _OWN_NETWORK

    @property
    def command(self) -> str:
        """The command to type next."""
        arch = self.architecture or (self.alternatives or ["ARCHITECTURE"])[0]
        data = "MNIST" if self.channels == 1 else "CIFAR10" if self.size == 32 else "ImageFolder"
        words = ["assay", "evaluate", "--model", f"checkpoint:{self.path}"]
        words += ["--trust_pickle", "true"] if self.trust else []
        words += [] if self.brings_network else ["--arch", arch]
        words += ["--data", data, *(["--data.root", "FOLDER"] if data == "ImageFolder" else [])]
        return shlex.join(words)

    def facts(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**asdict(self), "path": str(self.path), "command": self.command}

    def __str__(self) -> str:
        """Lays it out for a terminal; of many tensors only the first and last are shown."""
        lines = [f"  {name:<44} {what}" for name, what in self.keys.items()]
        if len(lines) > 12:
            lines = [*lines[:6], f"  ... {len(lines) - 12} more", *lines[-6:]]
        guess = self.architecture or "none fits exactly"
        if not self.architecture and self.alternatives:
            guess += f" (closest: {', '.join(self.alternatives)})"
        size = f"{self.size}x{self.size}" if self.size else "size unknown"
        facts = [
            f"kind          {self.kind}",
            f"parameters    {self.parameters:,}",
            *([] if self.brings_network else [f"architecture  {guess}"]),
            f"classes       {self.classes or 'unknown: no layer is clearly the head'}",
            f"input         {self.channels} channel(s), {size}",
            *([f"weights       {', '.join(map(repr, self.sets))}"] if len(self.sets) > 1 else []),
            *(f"note          {note}" for note in self.notes),
        ]
        if self.not_finite:
            facts.append(f"WARNING       {self.not_finite:,} numbers are NaN or infinite")
        return "\n".join([str(self.path), *lines, "", *facts, "", self.command])


_OWN_NETWORK = {kind.value for kind in (*NETWORKS, Kind.HUGGING_FACE, Kind.ASSAY, Kind.MLFLOW)}


def inspect_checkpoint(path: Path) -> Inspection:
    """Reads a checkpoint, executing nothing in it, and compares it with every known architecture.

    Args:
        path: of a file or folder.

    Raises:
        UserError: it holds no weights, or cannot be read without executing code.
    """
    kind = file_kind(path)
    if kind is Kind.MLFLOW:
        return inspect_checkpoint(logged_file(path))
    if kind in NETWORKS:
        return _of_network(path, kind)
    return _of_weights(read_weights(path))


def _of_weights(file: WeightsFile) -> Inspection:
    state, name, notes, _ = plain_weights(file)
    shapes = shapes_of(state)
    told = folder_facts(file.path) if file.path.is_dir() else None
    found = (file.facts or {}).get("architecture") or (told and told.architecture) or fitting(state)
    alternatives = [] if found else closest(state)
    network = fitted(found, state) if found and _is_known(found) else None
    ends = answers(found, network) if found and network is not None else None
    classes = ends[0] if ends else told.classes if told else head_outputs_of(shapes)
    channels = ends[1] if ends else _channels(state)
    pickled = [f"a whole pickled network ({file.pickled}), of which only weights were read"]
    return Inspection(
        path=file.path,
        kind=file.kind.value,
        keys={k: f"{tuple(t.shape)} {str(t.dtype)[6:]}" for k, t in state.items()},
        parameters=parameters_in(shapes),
        architecture=found,
        alternatives=alternatives,
        classes=classes,
        channels=channels,
        size=told.size if told and told.size else side_of(found),
        not_finite=_not_finite(state),
        sets=[name, *(other for other in file.sets if other != name)],
        notes=[*(pickled if file.pickled else []), *notes, *file.beside.notes],
    )


def _of_network(path: Path, kind: Kind) -> Inspection:
    """A file with its own network: of the file's words, and of its weights where they are named."""
    try:
        told: Sealed = sealed_facts(path, kind)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is {kind.a} that cannot be opened: {error}.") from error
    state = told.state or {}
    found = fitting(state) if state else None
    network = fitted(found, state) if found else None
    ends = answers(found, network) if found and network is not None else None
    taken = f"`--arch {found}` takes its weights into the network itself, with gradients and layers"
    run = f"runs as a black box: {told.described}"
    return Inspection(
        path=path,
        kind=kind.value,
        keys={k: f"{tuple(t.shape)} {str(t.dtype)[6:]}" for k, t in state.items()},
        parameters=told.parameters or parameters_in(shapes_of(state)),
        architecture=found,
        alternatives=[],
        classes=told.classes or (ends[0] if ends else head_outputs_of(shapes_of(state))),
        channels=told.channels or (ends[1] if ends else _channels(state)),
        size=told.size,
        not_finite=_not_finite(state),
        sets=[""],
        notes=[run, *([taken] if found else [])],
        trust=kind is not Kind.ONNX,
    )


def _is_known(name: str) -> bool:
    return name in ARCHITECTURES or name.startswith("torchvision:")


def _channels(state: dict[str, Tensor]) -> int:
    """Of the first convolution that sees grey or colour images, else colour."""
    images = [t.shape[1] for t in state.values() if t.ndim == 4 and t.shape[1] in (1, 3)]
    return images[0] if images else 3


def _not_finite(state: dict[str, Tensor]) -> int:
    floats = [tensor for tensor in state.values() if tensor.is_floating_point()]
    return sum(int((~tensor.isfinite()).sum()) for tensor in floats)
