"""Guesses what a bare checkpoint is a checkpoint of."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.architectures import ARCHITECTURES, auxiliary, build, zoo
from lightning_modules.heads import fit_ends, head_outputs, stem_inputs
from lightning_modules.weights_file import read_weights

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_SIDES = {"lenet": 28, "lenet_wide": 28, "inception_v3": 299}
_SLOW = "regnet"  # computes its widths with tensors, which the meta device cannot do


@dataclass(frozen=True)
class Inspection:
    """What a look into a checkpoint found.

    Args:
        path: of the file.
        keys: name, shape and type of every tensor.
        parameters: numbers besides the running statistics of batch norm.
        architecture: the one that fits exactly, or that the file names itself; else None.
        alternatives: others with most names in common, best first.
        classes: outputs of the last layer.
        channels: of the images.
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
        lines = [f"  {name:<44} {what}" for name, what in self.keys.items()]
        if len(lines) > 12:
            lines = [*lines[:6], f"  ... {len(lines) - 12} more", *lines[-6:]]
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
        return "\n".join([str(self.path), *lines, "", *facts, "", self.command])


def inspect_checkpoint(path: Path) -> Inspection:
    """Reads a checkpoint safely and compares it with every known architecture.

    Args:
        path: `.safetensors` or what torch.save wrote.

    Raises:
        UserError: it cannot be read without executing code.
    """
    file = read_weights(path)
    state = file.state
    found = (file.facts or {}).get("architecture") or _fitting(state)
    alternatives = [] if found else _closest(state)
    classes, channels = _ends(state, found or next(iter(alternatives), None))
    floats = [tensor for tensor in state.values() if tensor.is_floating_point()]
    return Inspection(
        path=path,
        keys={k: f"{tuple(t.shape)} {str(t.dtype)[6:]}" for k, t in state.items()},
        parameters=_parameters(state),
        architecture=found,
        alternatives=alternatives,
        classes=classes,
        channels=channels,
        size=_side(found),
        not_finite=sum(int((~tensor.isfinite()).sum()) for tensor in floats),
    )


def _fitting(state: dict[str, Tensor]) -> str | None:
    """The first architecture with these names and shapes, nearest in size first."""
    shapes = _shapes(state)
    for name in [*ARCHITECTURES, *_nearest(state)]:
        network = _fitted(name, state)
        own = _shapes(network.state_dict()) if network else {}
        needed = {k: v for k, v in own.items() if k in shapes or not k.endswith(_BUFFERS[2])}
        if needed == {k: v for k, v in shapes.items() if k in own or not auxiliary(k)}:
            return name
    return None


def _closest(state: dict[str, Tensor]) -> list[str]:
    """Up to three with more than 30 % of names and shapes in common, best first."""
    shapes = set(_shapes(state).items())
    shared: dict[str, float] = {}
    for name in [*ARCHITECTURES, *_nearest(state)]:
        network = _fitted(name, state)
        own = set(_shapes(network.state_dict()).items()) if network else set()
        shared[name] = len(own & shapes) / max(len(own | shapes), 1)
    ranked = sorted(shared, key=lambda name: -shared[name])[:3]
    return [name for name in ranked if shared[name] > 0.3]


def _nearest(state: dict[str, Tensor]) -> Iterator[str]:
    """Names torchvision's networks, by how near their published number of parameters is."""
    size = _parameters(state)
    published = {
        name: next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]
        for name in zoo()
        if name.startswith(_SLOW) == any(key.startswith("trunk_output.") for key in state)
    }
    ranked = sorted(published, key=lambda name: abs(published[name] - size))
    for name in ranked[:5] if ranked and ranked[0].startswith(_SLOW) else ranked:
        yield f"torchvision:{name}"


def _fitted(name: str, state: dict[str, Tensor]) -> nn.Module | None:
    """The network on no device, with the classes and channels of the state dict."""
    network = _candidate(name)
    try:
        with torch.device("meta"):
            fit_ends(network, state)
    except (UserError, RuntimeError, IndexError):
        return None
    return network


@lru_cache(maxsize=128)
def _candidate(name: str) -> nn.Module:
    with torch.device("cpu" if _SLOW in name else "meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random initialisation, which nobody will use
        return build(name, 10)


def _ends(state: dict[str, Tensor], name: str | None) -> tuple[int, int]:
    """Classes and channels: of the architecture's own head, else of the last matrix there is."""
    known = name is not None and (name in ARCHITECTURES or name.startswith("torchvision:"))
    network = _fitted(name, state) if name is not None and known else None
    if network is not None:
        return head_outputs(network), stem_inputs(network)
    matrices = [t for t in state.values() if t.ndim == 2] or [*state.values()]
    images = [t.shape[1] for t in state.values() if t.ndim == 4 and t.shape[1] in (1, 3)]
    return int(matrices[-1].shape[0]) if matrices[-1].ndim else 0, images[0] if images else 3


def _parameters(state: dict[str, Tensor]) -> int:
    return sum(tensor.numel() for key, tensor in state.items() if not key.endswith(_BUFFERS))


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _side(architecture: str | None) -> int | None:
    if architecture is None:
        return None
    name = architecture.rpartition(":")[2]
    return _SIDES.get(name, 32 if name.startswith("cifar") else 224)
