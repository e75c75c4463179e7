"""What an answer depends on, as hashes: a row is only used again where none of them has changed."""

import hashlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_HOME = Path(__file__).resolve().parent
_SIMPLE = (bool, int, float, str, bytes, type(None), torch.dtype, torch.Size)
# Of a module; none of them changes an answer, or another part of the key has it.
_NO_MATTER = frozenset({"training", "source", "notes", "chunk", "architecture"})


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
    `self.scale = 2.0`, and the source of its classes. What a closure holds is not seen; the bits of
    some answers are a part of the key for that, see `answers_digest`.
    """
    digest = hashlib.sha256()
    for tensors in (module.named_parameters, module.named_buffers):
        for name, tensor in tensors(remove_duplicate=False):
            _add(digest, name, tensor)
    for name, part in module.named_modules(remove_duplicate=False):
        digest.update(f"{name} {type(part).__qualname__} {part.extra_repr()}".encode())
        for attribute, value in sorted(vars(part).items()):
            if not attribute.startswith("_") and attribute not in _NO_MATTER:
                _add_value(digest, f"{name}.{attribute}", value)
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            _add_value(digest, f"{name} extra state", part.get_extra_state())
    digest.update(source_digest(*{type(part) for part in module.modules()}).encode())
    return digest.hexdigest()


@torch.no_grad()
def answers_digest(answers: Tensor) -> str:
    """Hashes the bits of logits, so that whatever else changed an answer is noticed."""
    digest = hashlib.sha256()
    _add(digest, "logits", answers)
    return digest.hexdigest()


def source_digest(*classes: type) -> str:
    """Hashes the source of classes with what it leans on, to 64 hex digits.

    Of Assay's own, the files of the family and of `callbacks/`; of the user's, every file of the
    same folder that is imported; of an installed package, its name and version.
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
                files |= set(_neighbours(file))
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


def _add_value(digest: Any, name: str, value: Any) -> None:
    """Adds what is plain; other objects are their modules' or their sources' business."""
    if isinstance(value, Tensor):
        _add(digest, name, value)
    elif isinstance(value, np.ndarray):
        digest.update(f"{name} {value.shape} {value.dtype}".encode() + value.tobytes())
    elif isinstance(value, dict | list | tuple | set | frozenset):
        items = sorted(value.items(), key=repr) if isinstance(value, dict) else value
        for i, item in enumerate(items):
            _add_value(digest, f"{name}[{i}]", item)
    elif isinstance(value, _SIMPLE):
        digest.update(f"{name} {value!r}".encode())


def _file_of(kind: type) -> Path | None:
    try:
        return Path(inspect.getfile(kind)).resolve()
    except (TypeError, OSError):  # built in, or typed into a notebook
        return None


def _is_installed(file: Path) -> bool:
    ours = file.is_relative_to(_HOME.parent) and file.relative_to(_HOME.parent).parts[0] in (
        "callbacks", "lightning_modules", "datamodules",
    )  # fmt: skip
    standard = Path(inspect.getfile(inspect)).resolve().parent
    return not ours and (
        "site-packages" in file.parts or "dist-packages" in file.parts
        or file.is_relative_to(standard)
    )  # fmt: skip


def _neighbours(file: Path) -> Iterator[Path]:
    """The files that a class in `file` may lean on."""
    if file.is_relative_to(_HOME):
        family = _HOME / file.relative_to(_HOME).parts[0]
        yield from _HOME.glob("*.py")
        yield from family.rglob("*.py") if family.is_dir() else ()
        return
    yield file
    for module in list(sys.modules.values()):
        other = getattr(module, "__file__", None)
        if other and other.endswith(".py"):
            path = Path(other).resolve()
            if path.is_relative_to(file.parent) and not _is_installed(path) and path.is_file():
                yield path


@lru_cache(maxsize=4096)
def _content(file: Path, changed: int) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


@cache
def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)} "
    except importlib.metadata.PackageNotFoundError:
        return f"{package} "
