"""Unpickles tensors and plain values; everything else becomes a placeholder, nothing is called.

A checkpoint often holds more than tensors: training arguments, NumPy scalars, a configuration, the
whole network. torch's own safe mode refuses such files as a whole. Here every name that is not on
a short list of constructors becomes an `Unknown`, which takes what it is given and does nothing.
"""

import io
import pickle
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch

from lightning_modules.checkpoint_files.harmless import harmless

_DANGEROUS = (
    *("os", "posix", "nt", "subprocess", "sys", "shutil", "runpy", "socket", "importlib", "ctypes"),
    *("pty", "webbrowser", "pickle", "marshal", "commands", "code"),
)
_RUNS = frozenset(f"builtins.{name}" for name in ("eval", "exec", "compile", "open", "__import__"))


class Unknown:
    """Stands for an object whose class was not looked up; it keeps the attributes it was given."""

    name = "?"
    dump_patches = False  # torch asks the class of a pickled module for it

    def __new__(cls, *_: Any, **__: Any) -> "Unknown":
        """Takes any arguments, like every class that a pickle may name."""
        instance = super().__new__(cls)
        instance.state = {}
        return instance

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: dict[str, Any]

    def __setstate__(self, state: Any) -> None:
        """Keeps attributes and sets none, so that a file cannot reach into a class."""
        state = state[0] if isinstance(state, tuple) and state else state
        self.state = dict(state) if isinstance(state, Mapping) else {}

    def __call__(self, *_: Any, **__: Any) -> "Unknown":
        """A file may call what an earlier call returned."""
        return Unknown()

    def __setitem__(self, key: Any, value: Any) -> None:
        """A subclass of dict."""
        self.state[str(key)] = value

    def append(self, _: Any) -> None:
        """A subclass of list or set."""

    extend = update = add = append


class Inert(NamedTuple):
    """What was read, and the names that placeholders stand for."""

    value: Any
    unknown: tuple[str, ...] = ()


class RefusedError(Exception):
    """A pickle names something that reaches out of the program: it is an attack."""


class InertUnpickler(pickle.Unpickler):
    """Reads a pickle without calling anything that the file names, but for harmless constructors.

    Args:
        file: open for reading.
    """

    unknown: ClassVar[dict[str, type[Unknown]]]
    """The placeholders that were made, by the names that they stand for."""

    def __init__(self, file: Any, **_: Any) -> None:
        super().__init__(file, encoding="latin1")  # of Python 2's strings, and of NumPy's bytes

    def find_class(self, module: str, name: str) -> Any:
        """Returns a constructor of plain data, or a placeholder."""
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        full = f"{module}.{name}"
        if module.partition(".")[0] in _DANGEROUS or full in _RUNS:
            raise RefusedError(full)
        known = harmless(module, name)
        if known is not None:
            return known
        return self.unknown.setdefault(full, type("Unknown", (Unknown,), {"name": full}))


def load_inertly(path: Path) -> Inert:
    """Loads what torch.save wrote, running nothing of it.

    Raises:
        RefusedError: it names something dangerous.
    """
    kind = _unpickler()
    module = types.ModuleType("inert_pickle")  # the shape of the pickle module that torch.load asks
    module.Unpickler = kind  # type: ignore[attr-defined]
    module.load = lambda file, **_: kind(file).load()  # type: ignore[attr-defined]
    value = torch.load(path, "cpu", pickle_module=module, weights_only=False)
    return Inert(value, tuple(kind.unknown))


def load_pickle_inertly(path: Path) -> Inert:
    """Loads what pickle.dump wrote, running nothing of it.

    Raises:
        RefusedError: it names something dangerous.
    """
    kind = _unpickler()
    with path.open("rb") as file:
        return Inert(kind(file).load(), tuple(kind.unknown))


def load_script_inertly(path: Path) -> Inert:
    """Loads the attributes of a TorchScript archive as placeholders that hold its tensors."""
    kind = _unpickler()
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        records: dict[str, torch.UntypedStorage] = {}

        def storage(key: tuple[Any, ...]) -> torch.TypedStorage:
            _, stored, number = key[:3]
            if number not in records:
                content = bytearray(archive.read(f"{name.removesuffix('.pkl')}/{number}"))
                flat = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0)
                records[number] = flat.untyped_storage()
            return torch.TypedStorage(
                wrap_storage=records[number], dtype=stored.dtype, _internal=True
            )

        unpickler = kind(io.BytesIO(archive.read(name)))
        unpickler.persistent_load = storage  # type: ignore[method-assign]
        return Inert(unpickler.load())


def _unpickler() -> type[InertUnpickler]:
    """A class of its own for every file, so that it remembers that file's names alone."""
    return type("InertUnpickler", (InertUnpickler,), {"unknown": {}})
