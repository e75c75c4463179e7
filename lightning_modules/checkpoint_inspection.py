"""Guesses what a bare checkpoint is a checkpoint of."""

import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from lightning_modules.architectures import ARCHITECTURES, build
from lightning_modules.sources.checkpoint import inputs, outputs
from lightning_modules.weights_file import read_weights

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class Inspection:
    """What a look into a checkpoint found.

    Args:
        path: of the file.
        keys: name, shape and type of every tensor.
        parameters: numbers besides the running statistics of batch norm.
        architecture: the one that fits exactly, else None.
        alternatives: others with most names in common, best first.
        classes: outputs of the last layer.
        channels: inputs of the first convolution.
        size: side of the images, where the architecture says so.
        not_finite: numbers that are NaN or infinite.
    """

    path: Path
    keys: dict[str, str]
    parameters: int
    architecture: str | None
    alternatives: list[str]
    classes: int
    channels: int
    size: int | None
    not_finite: int

    @property
    def command(self) -> str:
        """The command to type next."""
        arch = self.architecture or (self.alternatives or ["ARCHITECTURE"])[0]
        data = "MNIST" if self.channels == 1 else "CIFAR10" if self.size == 32 else "ImageFolder"
        root = " --data.root FOLDER" if data == "ImageFolder" else ""
        return f"assay evaluate --model checkpoint:{self.path} --arch {arch} --data {data}{root}"

    def facts(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**asdict(self), "path": str(self.path), "command": self.command}

    def __str__(self) -> str:
        """Lays it out for a terminal; of many tensors only the first and last are shown."""
        lines = [f"{name:<44} {what}" for name, what in self.keys.items()]
        shown = (
            lines if len(lines) <= 12 else [*lines[:6], f"... {len(lines) - 12} more", *lines[-6:]]
        )
        guess = self.architecture or "none fits exactly"
        if not self.architecture and self.alternatives:
            guess += f" (closest: {', '.join(self.alternatives)})"
        size = f"{self.size}x{self.size}" if self.size else "size unknown"
        facts = [
            f"parameters    {self.parameters:,}",
            f"architecture  {guess}",
            f"classes       {self.classes}",
            f"input         {self.channels} channel(s), {size}",
        ]
        if self.not_finite:
            facts.append(f"WARNING       {self.not_finite:,} numbers are NaN or infinite")
        return "\n".join([str(self.path), *(f"  {x}" for x in shown), "", *facts, "", self.command])


def inspect_checkpoint(path: Path) -> Inspection:
    """Reads a checkpoint safely and compares it with every known architecture.

    Args:
        path: `.safetensors` or what torch.save wrote.

    Raises:
        UserError: it cannot be read without executing code.
    """
    state = read_weights(path)
    classes, channels = outputs(state), inputs(state)
    architecture, alternatives = _guess(state, classes, channels)
    floats = [tensor for tensor in state.values() if tensor.is_floating_point()]
    return Inspection(
        path=path,
        keys={k: f"{tuple(t.shape)} {str(t.dtype)[6:]}" for k, t in state.items()},
        parameters=sum(t.numel() for k, t in state.items() if not k.endswith(_BUFFERS)),
        architecture=architecture,
        alternatives=alternatives,
        classes=classes,
        channels=channels,
        size=_size(architecture),
        not_finite=sum(int((~tensor.isfinite()).sum()) for tensor in floats),
    )


def _guess(state: dict[str, Tensor], classes: int, channels: int) -> tuple[str | None, list[str]]:
    """Tries the built-in networks, then those of torchvision with as many parameters, on no device."""
    shapes = _shapes(state)
    for name in ARCHITECTURES:
        if _fits(shapes, name, classes, channels):
            return name, []
    zoo = torchvision.models.list_models(module=torchvision.models)
    regnet = any(key.startswith("trunk_output.") for key in state)
    zoo = [name for name in zoo if name.startswith("regnet") == regnet]
    similar = partial(_similarity, shapes, classes, channels)
    ranked = sorted(zoo, key=similar, reverse=True)[:3]
    best = f"torchvision:{ranked[0]}"
    if _fits(shapes, best, classes, channels):
        return best, []
    return None, [f"torchvision:{name}" for name in ranked if similar(name) > 0.3]


def _fits(shapes: dict[str, tuple], name: str, classes: int, channels: int) -> bool:
    own = _architecture_shapes(name, classes, channels)
    optional = {key for key in own if key.endswith("num_batches_tracked")}
    return {k: v for k, v in own.items() if k not in optional or k in shapes} == shapes


def _similarity(shapes: dict[str, tuple], classes: int, channels: int, name: str) -> float:
    own = set(_architecture_shapes(f"torchvision:{name}", classes, channels).items())
    return len(own & set(shapes.items())) / max(len(own | set(shapes.items())), 1)


def _architecture_shapes(name: str, classes: int, channels: int) -> dict[str, tuple]:
    # RegNet computes its widths with tensors, which the meta device cannot do.
    device = "cpu" if "regnet" in name else "meta"
    with torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random initialisation, which nobody will use
        return _shapes(build(name, classes, channels).state_dict())


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _size(architecture: str | None) -> int | None:
    if architecture is None:
        return None
    return {"lenet": 28}.get(architecture, 32 if architecture.startswith("cifar") else 224)
