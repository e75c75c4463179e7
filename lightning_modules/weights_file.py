"""Reads tensors out of a file without executing anything in it."""

import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.architectures import auxiliary

_WRAPPERS = ("state_dict", "model_state_dict", "state_dict_ema", "model", "net", "weights")
_PREFIXES = ("module.", "model.", "classifier.", "network.", "net.", "backbone.", "_orig_mod.")
_BESIDES = ("n_averaged",)
"""Kept by torch's AveragedModel beside the weights."""


class WeightsFile(NamedTuple):
    """What a checkpoint holds.

    Args:
        state: tensors, named as in the bare network.
        facts: what `FineTuning` added: architecture, classes, preprocessing; else None.
        module: a whole pickled network; only of trusted files.
    """

    state: dict[str, Tensor]
    facts: dict[str, Any] | None = None
    module: nn.Module | None = None


def read_weights(path: Path, trust_pickle: bool = False) -> WeightsFile:
    """Reads a checkpoint.

    Args:
        path: `.safetensors`, or anything torch.save wrote: a state dict, bare or under a usual key,
            or (only with `trust_pickle`) a whole module.
        trust_pickle: let the file execute code while it is read.

    Raises:
        UserError: there is no such file, it is cut off, could execute code, or holds no weights.
    """
    content = _read(path, trust_pickle)
    facts = content.get("assay") if isinstance(content, dict) else None
    found = _weights(content)
    if isinstance(found, nn.Module):
        return WeightsFile(stripped(dict(found.state_dict())), facts, found)
    if found is None:
        keys = (
            f" with {', '.join(map(str, list(content)[:5]))}" if isinstance(content, dict) else ""
        )
        raise UserError(
            f"Expected a state dict in {str(path)!r}, but got {type(content).__name__}{keys}."
        )
    return WeightsFile(stripped(found), facts)


def stripped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Takes prefixes off that all names share: of DataParallel, Lightning or torch.compile."""
    state = {_renamed(key): tensor for key, tensor in state.items() if key not in _BESIDES}
    prefix = _shared_prefix(state)
    return {key.removeprefix(prefix): tensor for key, tensor in state.items()}


def named_for(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Puts the prefix back that a model's own names share, like those of a wrapper's `model`."""
    prefix = _shared_prefix(model.state_dict())
    return {prefix + key: tensor for key, tensor in state.items()}


def _shared_prefix(names: Iterable[str]) -> str:
    found, names = "", list(names)
    while True:
        start = (found + prefix for prefix in _PREFIXES)
        longer = next((p for p in start if names and all(n.startswith(p) for n in names)), None)
        if longer is None:
            return found
        found = longer


def load_exactly(model: nn.Module, state: dict[str, Tensor], arch: str, path: Path) -> None:
    """Loads weights and names every difference; only batch counters may be missing.

    Raises:
        UserError: the weights are not of this architecture.
    """
    own = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    state = {key: tensor for key, tensor in state.items() if key in own or not auxiliary(key)}
    differing = [k for k in own if k in state and own[k].shape != state[k].shape]
    problems = {
        "missing": [k for k in own if k not in state and not k.endswith("num_batches_tracked")],
        "unexpected": [k for k in state if k not in own],
        "of another shape": [
            f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}" for k in differing
        ],
    }
    if any(problems.values()):
        said = [
            f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
            for what, names in problems.items()
            if names
        ]
        raise UserError(
            f"The weights in {str(path)!r} are not of {arch!r} ({'; '.join(said)}). "
            f"`assay inspect {path}` guesses the architecture."
        )
    model.load_state_dict(state, strict=False)


def _renamed(key: str) -> str:
    """Torchvision's published DenseNets have dots in names, which modules cannot have."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _weights(content: Any) -> dict[str, Tensor] | nn.Module | None:
    """Looks for a state dict or module, also under the keys that training scripts use."""
    if isinstance(content, nn.Module):
        return content
    if not isinstance(content, dict):
        return None
    inside = (_weights(content.get(key)) for key in _WRAPPERS)
    found = next((one for one in inside if one is not None), None)
    return found or {str(k): v for k, v in content.items() if isinstance(v, Tensor)} or None


def _read(path: Path, trust_pickle: bool) -> Any:
    if not path.is_file():
        raise UserError(f"There is no checkpoint {str(path)!r}.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # it is refused anyway
            return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except PermissionError as error:
        raise UserError(
            f"The checkpoint {str(path)!r} cannot be read: permission denied."
        ) from error
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{str(path)!r} needs code that is not here: {error}. Start Assay in the folder it was "
            "saved from, or save its state_dict()."
        ) from error
    except pickle.UnpicklingError as error:
        # torch wraps every failure in the same words; only a refused name is a matter of trust.
        match = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
        refused = match[1] if match else _first_call(path)
        raise UserError(_could_execute(path, refused) if refused else _cut_off(path)) from error
    # A file cut off early makes torch seek before its beginning, which is an OSError.
    except (
        SafetensorError,
        RuntimeError,
        zipfile.BadZipFile,
        ValueError,
        EOFError,
        OSError,
        LookupError,  # torch pops from an empty stack
    ) as error:
        raise UserError(_cut_off(path)) from error


def _first_call(path: Path) -> str | None:
    """Finds, without executing it, the first name that a plain pickle imports."""
    strings: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if operation.name == "STACK_GLOBAL":
                return ".".join(strings[-2:])
            if isinstance(argument, str):
                strings.append(argument)
    except ValueError:  # cut off, or no pickle
        return None
    return None


def _could_execute(path: Path, name: str) -> str:
    return (
        f"{str(path)!r} is a pickle of more than tensors (it calls {name!r}): loading it could "
        "execute code, so it was not loaded. Save its state_dict() instead, or say "
        "`--trust_pickle true` if the file is your own."
    )


def _cut_off(path: Path) -> str:
    return (
        f"{str(path)!r} ({path.stat().st_size:,} bytes) is cut off or no checkpoint: expected "
        "a .safetensors file or what torch.save writes. Copy it again."
    )
