"""Weights in several files: the shards of Hugging Face, Accelerate and torch.distributed."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.errors import UserError
from lightning_modules.checkpoint_files.inert_pickle import Unknown, load_pickle_inertly
from lightning_modules.checkpoint_files.kinds import INDEXES, WEIGHTS

_OPTIMISERS = {"optim", "optimizer", "optimizers", "optimizer_states"}


def index_of(path: Path) -> Path:
    """The index or the one file of weights in a folder; a file is returned as it is.

    Raises:
        UserError: the folder has none.
    """
    if path.is_file():
        return path
    names = (*WEIGHTS[:1], *INDEXES[:1], *WEIGHTS[1:], *INDEXES[1:])  # safetensors come first
    there = [path / name for name in names if (path / name).is_file()]
    if not there:
        raise UserError(f"{str(path)!r} has none of the files {', '.join(names)}: copy them too.")
    return there[0]


def read_shards(index: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """Reads all files that an index names, as `model.safetensors.index.json` does.

    Args:
        index: of the form {"weight_map": {name: file}}.
        read: reads one file to a state dict.

    Raises:
        UserError: it is no index, a file is missing, or a weight is in none.
    """
    try:
        named = dict(json.loads(index.read_text())["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{str(index)!r} is no index of shards: expected {{"weight_map": {{...}}}}.'
        ) from error
    files = sorted({Path(str(file)).name for file in named.values()})  # never outside the folder
    absent = [name for name in files if not (index.parent / name).is_file()]
    if absent:
        raise UserError(
            f"{str(index)!r} names {len(files)} files, but {len(absent)} of them are not there: "
            f"{', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}. Copy them beside it."
        )
    state = {name: value for file in files for name, value in read(index.parent / file).items()}
    if lacking := [name for name in named if name not in state]:
        raise UserError(
            f"{str(index)!r} names {len(lacking)} weights that are in none of its files, for "
            f"instance {lacking[0]!r}: copy the files again."
        )
    return state


def read_distributed(folder: Path) -> dict[str, Tensor]:
    """Puts the shards of torch.distributed.checkpoint (FSDP) together; its pickle runs nothing."""
    metadata = load_pickle_inertly(folder / ".metadata").value.state
    tensors = {
        name: torch.empty(0)
        for name, entry in metadata["state_dict_metadata"].items()
        if "chunks" in entry.state and not _OPTIMISERS & set(name.split("."))
    }
    for key, info in metadata["storage_data"].items():
        name = key.state["fqn"]
        if name not in tensors:
            continue
        piece = _piece(folder, info)
        size = metadata["state_dict_metadata"][name].state["size"]
        if tensors[name].shape != size:
            tensors[name] = torch.empty(size, dtype=piece.dtype)
        start = key.state.get("offset") or [0] * piece.ndim
        where = tuple(slice(a, a + n) for a, n in zip(start, piece.shape, strict=True))
        tensors[name][where] = piece
    return tensors


def _piece(folder: Path, info: Unknown) -> Tensor:
    path = folder / Path(str(info.state["relative_path"])).name
    if not path.is_file():
        raise UserError(f"{str(folder)!r} lacks its file {path.name!r}: copy the whole folder.")
    with path.open("rb") as file:
        file.seek(info.state["offset"])
        content = file.read(info.state["length"])
    return torch.load(io.BytesIO(content), "cpu", weights_only=True)
