"""What an answer depends on, as hashes: a row is only used again where none of them has changed."""

import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, is_dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from types import FunctionType
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from callbacks.function_digest import class_values, functions_of, readings
from lightning_modules.classifier import Classifier
from lightning_modules.trial import MEMORY

_HOME = Path(__file__).resolve().parent
_SIMPLE = (bool, int, float, str, bytes, type(None), torch.dtype, torch.Size)
# Of a classifier; none of them changes an answer, or `answers` and `preprocessing` have it.
_NO_MATTER = frozenset(
    {"source", "notes", "chunk", "architecture", "facts", "reasons", "scale", "pretrained"}
)

# What torch and Lightning keep in every module; what else begins with `_` is its author's own.
_THEIR_OWN = frozenset({*dir(nn.Module()), *dir(L.LightningModule()), MEMORY})


def weights_digest(module: nn.Module) -> str:
    """Hashes names, shapes, types and bits of every parameter and buffer to 64 hex digits."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if isinstance(tensor, Tensor):  # not what `get_extra_state` adds
            _add(digest, name, tensor)
    return digest.hexdigest()


def model_digest(module: nn.Module) -> str:
    """Hashes everything that a network computes with, to 64 hex digits.

    Parameters, all buffers (those that are not saved too), extra state, plain attributes such as
    `self.scale = 2.0` (and, of the user's own classes, `self._scale`), the source of its classes,
    and what the user's functions read elsewhere, see `readings`. The bits of some answers are a
    part of the keys of rows for what is left, see `answers_digest`.
    """
    digest = hashlib.sha256()
    for tensors in (module.named_parameters, module.named_buffers):
        for name, tensor in tensors(remove_duplicate=False):
            _add(digest, name, tensor)
    for name, part in module.named_modules(remove_duplicate=False):
        digest.update(f"{name} {type(part).__qualname__} {part.extra_repr()}".encode())
        for attribute, value in sorted(vars(part).items()):
            if _matters(part, attribute):
                _add_value(digest, f"{name}.{attribute}", value)
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            _add_value(digest, f"{name} extra state", part.get_extra_state())
        for read, value in (*class_values(part), *readings(functions_of(part), _is_users)):
            _add_value(digest, f"{name} {read}", value)
    digest.update(source_digest(*{type(part) for part in module.modules()}).encode())
    return digest.hexdigest()


def callable_digest(thing: Callable[..., Any]) -> str:
    """Hashes what a function, a class, or either with some arguments given, does.

    Two lambdas have one name: what they are known by is their code and what it reads.

    Args:
        thing: e.g. what makes an optimizer.

    Returns:
        64 hex digits.
    """
    digest = hashlib.sha256()
    while isinstance(thing, partial):
        _add_value(digest, "given", [thing.args, sorted(thing.keywords.items())])
        thing = thing.func
    if isinstance(thing, FunctionType):
        for read, value in readings([thing], _is_users):
            _add_value(digest, read, value)
    else:
        kind = thing if isinstance(thing, type) else type(thing)
        digest.update(f"{kind.__module__} {kind.__qualname__} {source_digest(kind)}".encode())
        _add_value(digest, "state", {} if kind is thing else dict(vars(thing)))
    return digest.hexdigest()


@torch.no_grad()
def answers_digest(answers: Tensor) -> str:
    """Hashes the bits of logits, so that whatever else changed an answer is noticed."""
    digest = hashlib.sha256()
    _add(digest, "logits", answers)
    return digest.hexdigest()


def _matters(part: nn.Module, attribute: str) -> bool:
    """Whether an attribute of a module may change its answers."""
    if isinstance(part, Classifier):
        return not attribute.startswith("_") and attribute not in {"training", *_NO_MATTER}
    if attribute.startswith("_"):
        file = _file_of(type(part))
        return attribute not in _THEIR_OWN and (file is None or not _is_installed(file))
    return attribute != "training"


def source_digest(*classes: type) -> str:
    """Hashes the source of classes with what it leans on, to 64 hex digits.

    Of Assay's own, the files of the family and of `callbacks/`, or the file itself; of the user's,
    every file of the same project that is imported, which is the folder
    that they are imported from; of an installed package, its name and version.
    """
    files: set[Path] = set()
    versions: set[str] = set()
    for kind in classes:
        for base in kind.__mro__[:-1]:
            file = _file_of(base)
            if file is None:
                continue
            if _is_installed(file):
                versions.add(_version(base.__module__.partition(".")[0]))
            else:
                files |= set(_neighbours(file, base.__module__))
    digest = hashlib.sha256("".join(sorted(versions)).encode())
    for file in sorted(files):
        digest.update(file.name.encode() + _content(file, file.stat().st_mtime_ns))
    return digest.hexdigest()


def classes_in(thing: Any, depth: int = 4) -> set[type]:
    """The classes of an object and of what it holds, such as a probe's attack and its parts."""
    if isinstance(thing, _SIMPLE) or depth == 0 or isinstance(thing, Tensor):
        return set()
    if isinstance(thing, dict | list | tuple | set | frozenset):
        parts: Iterable[Any] = thing.values() if isinstance(thing, dict) else thing
        return set().union(*(classes_in(part, depth - 1) for part in parts))
    held = getattr(thing, "__dict__", {}).values()
    return {type(thing)}.union(*(classes_in(part, depth - 1) for part in held))


def _add(digest: Any, name: str, tensor: Tensor) -> None:
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
    bits = tensor.detach().cpu().contiguous().flatten()
    digest.update(bits.view(torch.uint8).numpy() if bits.numel() else b"")


def _add_value(digest: Any, name: str, value: Any, depth: int = 8) -> None:
    """Adds what is plain; other objects are their modules' or their sources' business."""
    if not depth:  # a container may hold itself
        return
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Tensor):
        _add(digest, name, value)
    elif isinstance(value, np.ndarray):
        digest.update(f"{name} {value.shape} {value.dtype}".encode() + value.tobytes())
    elif isinstance(value, dict | list | tuple | set | frozenset):
        items = value.items() if isinstance(value, dict) else value
        ordered = isinstance(value, list | tuple)  # a set has another order in every process
        for i, item in enumerate(items if ordered else sorted(items, key=repr)):
            _add_value(digest, f"{name}[{i}]", item, depth - 1)
    elif isinstance(value, _SIMPLE):
        digest.update(f"{name} {value!r}".encode())


def _file_of(kind: type) -> Path | None:
    try:
        return Path(inspect.getfile(kind)).resolve()
    except (TypeError, OSError):  # built in, or typed into a notebook
        return None


def _is_ours(file: Path) -> bool:
    rooms = ("callbacks", "lightning_modules", "datamodules", "pipelines")
    home = _HOME.parent
    return file.is_relative_to(home) and file.relative_to(home).parts[0] in rooms


def _is_installed(file: Path) -> bool:
    standard = Path(inspect.getfile(inspect)).resolve().parent
    return not _is_ours(file) and (
        "site-packages" in file.parts or "dist-packages" in file.parts
        or file.is_relative_to(standard)
    )  # fmt: skip


def _neighbours(file: Path, name: str) -> Iterator[Path]:
    """The files that a class in `file`, imported under a dotted name, may lean on."""
    if file.is_relative_to(_HOME):
        family = _HOME / file.relative_to(_HOME).parts[0]
        yield from _HOME.glob("*.py")
        yield from family.rglob("*.py") if family.is_dir() else ()
        return
    yield file
    if _is_ours(file):
        return  # what of us is imported differs from command to command; answers are hashed too
    project = _imported_from(file, name)
    for module in list(sys.modules.values()):
        other = getattr(module, "__file__", None)
        path = _users_file(other) if other and other.endswith(".py") else None
        if path is not None and path.is_relative_to(project) and path.is_file():
            yield path


def _is_users(name: str) -> bool:
    """Whether a file is neither installed nor Assay's own; a cell of a notebook is the user's."""
    return name.startswith("<") or (bool(name) and _users_file(name) is not None)


@cache  # thousands of modules are imported, and links are slow to follow
def _users_file(name: str) -> Path | None:
    """The file of a module that is neither installed nor Assay's own."""
    path = Path(name).resolve()
    return None if _is_installed(path) or _is_ours(path) else path


def _imported_from(file: Path, name: str) -> Path:
    """The folder on the path of imports: `project` of `project/models/net.py`, `models.net`."""
    parts = tuple(name.split("."))
    path = file.parent if file.stem == "__init__" else file.with_suffix("")
    return path.parents[len(parts) - 1] if path.parts[-len(parts) :] == parts else file.parent


@lru_cache(maxsize=4096)
def _content(file: Path, changed: int) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


@cache
def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)} "
    except importlib.metadata.PackageNotFoundError:
        return f"{package} "
