"""Reads tensors out of a file without executing anything in it."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from datamodules.errors import UserError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights", "ema_state_dict")
_PREFIXES = ("module.", "model.", "classifier.model.", "_orig_mod.", "net.", "backbone.")


def read_weights(path: Path, trust_pickle: bool = False) -> dict[str, Tensor]:
    """Returns the state dict in a checkpoint, with names as the bare network has them.

    Args:
        path: `.safetensors`, or anything torch.save wrote: a state dict, bare or under a usual key,
            or (only with `trust_pickle`) a whole module.
        trust_pickle: let the file execute code while it is read.

    Raises:
        UserError: there is no such file, it is cut off, could execute code, or holds no weights.
    """
    return stripped(_state(_read(path, trust_pickle), path))


def stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes prefixes off that all names share: of DataParallel, Lightning or torch.compile."""
    while True:
        prefix = next((p for p in _PREFIXES if state and all(k.startswith(p) for k in state)), None)
        if prefix is None:
            return state
        state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}


def _read(path: Path, trust_pickle: bool) -> Any:
    if not path.is_file():
        raise UserError(f"There is no checkpoint {str(path)!r}.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error) or "WeightsUnpickler" in str(error) or "global" in str(error):
            raise UserError(_could_execute(path)) from error
        raise UserError(_cut_off(path)) from error
    except (SafetensorError, EOFError, RuntimeError, zipfile.BadZipFile, OSError) as error:
        raise UserError(_cut_off(path)) from error


def _state(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, nn.Module):
        return dict(content.state_dict())
    if isinstance(content, dict):
        for key in _WRAPPERS:
            if isinstance(content.get(key), nn.Module | dict):
                return _state(content[key], path)
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
    raise UserError(
        f"Expected a state dict in {str(path)!r}, but got {type(content).__name__}"
        f"{' with ' + ', '.join(map(str, list(content)[:5])) if isinstance(content, dict) else ''}."
    )


def _could_execute(path: Path) -> str:
    return (
        f"{str(path)!r} is a pickle of more than tensors: loading it could execute code, so it was "
        "not loaded. Save its state_dict(), or say `--trust_pickle true` if the file is your own."
    )


def _cut_off(path: Path) -> str:
    return (
        f"{str(path)!r} ({path.stat().st_size:,} bytes) is cut off or no checkpoint: expected "
        "a .safetensors file or what torch.save writes. Copy it again."
    )
