"""What files and folders that know their own network say of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lightning_modules.checkpoint_files.contents import read_content
from lightning_modules.checkpoint_files.exported import read_export_header
from lightning_modules.checkpoint_files.kinds import Kind
from lightning_modules.checkpoint_files.names import plain
from lightning_modules.checkpoint_files.onnx_header import read_onnx_header
from lightning_modules.checkpoint_files.weight_sets import weight_sets

Shape = tuple[int | None, ...]


class Sealed(NamedTuple):
    """What a file with its own network says.

    Args:
        described: its inputs, outputs and size, for a note.
        classes: outputs, where the file fixes them.
        channels: of the images, likewise.
        size: side of the images, likewise.
        parameters: numbers in its weights; 0 where `state` tells.
        state: its weights, where they have the names of the original network.
    """

    described: str
    classes: int | None = None
    channels: int | None = None
    size: int | None = None
    parameters: int = 0
    state: dict[str, Tensor] | None = None


class Folder(NamedTuple):
    """What a folder of Hugging Face, timm or Assay says of its network."""

    architecture: str | None
    classes: int | None
    size: int | None


def sealed_facts(path: Path, kind: Kind) -> Sealed:
    """Reads what a TorchScript, torch.export or ONNX file says, running nothing.

    Raises:
        ValueError: it is cut off.
    """
    if kind is Kind.ONNX:
        header = read_onnx_header(path)
        ends = (tuple(v.shape for v in header.inputs), tuple(v.shape for v in header.outputs))
        return _of_ends(
            *ends, f"by {header.producer or 'an unknown program'}, {header.nodes} nodes"
        )._replace(parameters=header.parameters)
    sets = weight_sets(read_content(path, kind).value)
    weights = next(iter(sets.values()), {})
    state = {short: weights[name] for short, name in plain(weights).items()}
    if kind is Kind.TORCHSCRIPT:
        return Sealed("TorchScript does not say the size of its images", state=state)
    exported = read_export_header(path)
    return _of_ends(exported.inputs, exported.outputs, f"{exported.nodes} nodes")._replace(
        state=state
    )


def folder_facts(path: Path) -> Folder | None:
    """Reads the configuration of a folder; None where it has none."""
    for name in ("classifier.json", "config.json"):
        try:
            config = json.loads((path / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(config, dict):
            return _of_assay(config) if name == "classifier.json" else _of_config(config, path)
    return None


def _of_assay(config: Mapping[str, Any]) -> Folder:
    seen = config.get("preprocessing") or {}
    architecture = str(config.get("architecture", "")).removeprefix("builtin:")
    return Folder(architecture or None, len(config.get("classes", ())) or None, seen.get("crop"))


def _of_config(config: Mapping[str, Any], path: Path) -> Folder:
    if "architecture" in config:  # timm
        told = config.get("pretrained_cfg") or {}
        size = told.get("input_size") or (None,)
        return Folder(f"timm:{config['architecture']}", config.get("num_classes"), size[-1])
    labels = config.get("id2label") or {}
    side = config.get("image_size")
    return Folder(f"hf:{path}", len(labels) or 2, side if isinstance(side, int) else None)


def _of_ends(inputs: tuple[Shape, ...], outputs: tuple[Shape, ...], more: str) -> Sealed:
    """Reads batch, channels and sides off the first input, and classes off the last output."""
    shown = " and ".join(_shown(shape) for shape in inputs), ", ".join(map(_shown, outputs))
    described = f"from {shown[0]} to {shown[1]} ({more})"
    channels = side = None
    if len(inputs) == 1 and len(inputs[0]) == 4:
        _, *image = inputs[0]
        last = image[2] in (1, 3) and image[0] not in (1, 3)
        channels, side = (image[2], image[0]) if last else (image[0], image[2])
    classes = next((shape[1] for shape in outputs if len(shape) >= 2), None)
    return Sealed(described, classes, channels, side)


def _shown(shape: Shape) -> str:
    return "x".join("any" if n is None else str(n) for n in shape) or "?"
