"""Reads files and folders into plain Python, without executing anything in them."""

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from datamodules.errors import UserError
from lightning_modules.checkpoint_files import inert_pickle
from lightning_modules.checkpoint_files.exported import read_exported_weights
from lightning_modules.checkpoint_files.kinds import Kind, cut_off, file_kind
from lightning_modules.checkpoint_files.shards import index_of, read_distributed, read_shards

_BROKEN = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    OSError,  # a file cut off early makes torch seek before its beginning
    LookupError,  # torch pops from an empty stack
    AssertionError,
    TypeError,
    AttributeError,
    MemoryError,  # a length that is garbage
)


class Content(NamedTuple):
    """What a file holds: dicts, tensors, modules, and placeholders for what was not rebuilt."""

    value: Any
    not_run: tuple[str, ...] = ()
    """Names of classes and functions in the file that were not looked up."""


def read_content(path: Path, kind: Kind, trust_pickle: bool = False) -> Content:
    """Reads what can hold weights.

    Args:
        path: of a file, or of a folder of shards.
        kind: of `path`, as `file_kind` tells it.
        trust_pickle: let a pickle execute code while it is read.

    Raises:
        UserError: it is cut off, or would have to execute code.
    """
    if kind in (Kind.INDEX, Kind.HUGGING_FACE):
        return _read_index(index_of(path), trust_pickle)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of deprecations inside torch, which no user can mend
            if kind in (Kind.TORCH, Kind.PICKLE):
                return _trusted(path, kind) if trust_pickle else _untrusted(path, kind)
            return Content(_READERS[kind](path))
    except UserError:
        raise
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"{str(path)!r} needs code that is not here: {error}. Start Assay in the folder it was "
            "saved from, or save its state_dict()."
        ) from error
    except PermissionError as error:
        raise UserError(
            f"The checkpoint {str(path)!r} cannot be read: permission denied."
        ) from error
    except _BROKEN as error:
        raise UserError(cut_off(path)) from error


def _read_index(path: Path, trust_pickle: bool) -> Content:
    def read(file: Path) -> Any:
        return read_content(file, file_kind(file), trust_pickle).value

    whole = not path.name.endswith(".json")
    return Content(read(path) if whole else read_shards(path, read))


def _trusted(path: Path, kind: Kind) -> Content:
    if kind is Kind.TORCH:
        return Content(torch.load(path, map_location="cpu", weights_only=False))
    with path.open("rb") as file:
        return Content(pickle.load(file))


def _untrusted(path: Path, kind: Kind) -> Content:
    """First as torch's own safe mode does it, then with placeholders for what that refuses."""
    if kind is Kind.TORCH:
        try:
            return Content(torch.load(path, map_location="cpu", weights_only=True))
        except _BROKEN:  # refused; or cut off, which shows again below
            pass
    read = inert_pickle.load_inertly if kind is Kind.TORCH else inert_pickle.load_pickle_inertly
    try:
        return Content(*read(path))
    except inert_pickle.RefusedError as error:
        raise UserError(could_execute(path, str(error))) from error


def could_execute(path: Path, name: str) -> str:
    """The sentence for pickles that need consent."""
    return (
        f"{str(path)!r} is a pickle of more than tensors (it calls {name!r}): loading it could "
        "execute code, so it was not loaded. Save its state_dict() instead, or say "
        "`--trust_pickle true` if the file is your own."
    )


def _arrays(path: Path) -> Any:
    """NumPy's own formats; arrays of objects are pickles and are refused."""
    read = np.load(path, allow_pickle=False)
    if isinstance(read, np.ndarray):
        raise UserError(f"{str(path)!r} is one array {read.shape}, without the names of weights.")
    return {name: read[name] for name in read.files if read[name].dtype.kind in "fiub"}


_READERS: dict[Kind, Callable[[Path], Any]] = {
    Kind.SAFETENSORS: safetensors.torch.load_file,
    Kind.ARRAYS: _arrays,
    Kind.TORCHSCRIPT: lambda path: inert_pickle.load_script_inertly(path).value,
    Kind.EXPORT: read_exported_weights,
    Kind.SHARDED: read_distributed,
}
