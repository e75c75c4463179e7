"""Which sets of weights a file holds: under known keys, nested, or side by side in one dict."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lightning_modules.checkpoint_files.inert_pickle import Unknown

State = dict[str, Any]
"""Tensors by name; a packed layer of a quantised network is a tuple of tensors."""

AVERAGED = (
    *("params_ema", "state_dict_ema", "model_ema", "ema_model", "ema_state_dict", "ema"),
    *("ema_weights", "model_state_dict_ema", "model_ema_state_dict", "ema_params", "ema_net"),
    *("averaged_model", "average_model", "avg_model", "swa_model", "swa_state_dict", "swa"),
)
"""Averages over the steps of training: what their authors evaluate and publish."""
PLAIN = (
    *("state_dict", "model_state_dict", "model_state", "model", "params", "weights", "network"),
    *("net", "net_state_dict", "model_weights", "module", "classifier", "backbone", "encoder"),
    *("teacher", "teacher_state_dict", "student", "student_state_dict"),
    *("current_model_state", "average_model_state"),
)
KEYS = (*AVERAGED, *PLAIN)
"""Of several sets that fit equally well, the first in this order is taken."""
_BESIDE = ("teacher", "student")
_NO_WEIGHTS = re.compile(
    r"optim\w*|opt|opts|opt_\w+|lr_\w+|\w*sched\w*|\w*scaler\w*|amp|callbacks|loops|\w*rng\w*|"
    r"random_\w+|args|hparams|hyper_\w+|config|cfg|meta|criterion|loss|losses|metrics?|history|"
    r"trainer\w*"
)
"""Keys whose tensors are of optimizers, schedulers, losses and the like."""


def weight_sets(content: Any) -> dict[str, State]:
    """Finds every set of weights in what was read; its name is the path of keys to it.

    Args:
        content: dicts, lists, modules and placeholders as a file holds them.
    """
    return {
        path: state
        for whole, flat in _walk(content, "")
        for path, state in _split(whole, flat)
        if state
    }


def rank(path: str) -> int:
    """Where a set stands among those that fit equally well; known keys first."""
    keys = path.split(".")
    return min(KEYS.index(key) if key in KEYS else len(KEYS) for key in keys)


def best_set(sets: Mapping[str, State]) -> str:
    """The set that is taken where no network tells which one fits."""
    return min(sets, key=lambda name: (rank(name), -len(sets[name])))


def is_averaged(path: str) -> bool:
    """Whether a set is an average over training."""
    return any(key in AVERAGED for key in path.split("."))


def _walk(node: Any, path: str) -> Iterator[tuple[str, State]]:
    if isinstance(node, nn.Module):
        yield path, dict(node.state_dict())
    elif isinstance(node, Unknown):
        if state := dict(_of_pickled_module(node, "")):
            yield path, state
    elif isinstance(node, list | tuple):
        for position, item in enumerate(node):
            if isinstance(item, Mapping | nn.Module | Unknown):
                yield from _walk(item, _joined(path, str(position)))
    elif isinstance(node, Mapping):
        yield from _walk_mapping(node, path)


def _walk_mapping(node: Mapping[Any, Any], path: str) -> Iterator[tuple[str, State]]:
    inner = {
        str(key): value
        for key, value in node.items()
        if isinstance(value, Mapping | nn.Module | Unknown | list | tuple)
        and not is_packed(value)
        and not _NO_WEIGHTS.fullmatch(str(key).lower())
    }
    known = {key: value for key, value in inner.items() if key in KEYS}
    pairs = [pair for key, value in known.items() for pair in _walk(value, _joined(path, key))]
    if not pairs and _is_network(node):
        yield path, dict(_flat(node, ""))
        return
    rest = {key: value for key, value in inner.items() if key not in known}
    yield from pairs
    for key, value in rest.items():
        yield from _walk(value, _joined(path, key))


def _is_network(node: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a state dict: tensors itself, or nested by layer down to its tensors."""
    leaves = [str(key) for key, value in node.items() if is_leaf(value) and _dims(value)]
    layers = [part for part in _parts(node).values() if any(_flat(part, ""))]
    nested = not any("." in str(key) for layer in layers for key in layer)
    if leaves:
        return nested or any("." in name for name in leaves)
    return bool(layers) and nested and all(map(_is_network, layers))


def _dims(value: Any) -> int:
    return 1 if is_packed(value) else value.ndim


def is_leaf(value: Any) -> bool:
    """Whether it is a tensor, an array, or the packed weights of a quantised layer."""
    return isinstance(value, Tensor | np.ndarray) or is_packed(value)


def is_packed(value: Any) -> bool:
    """Whether it is what quantised linear layers and convolutions save: (weight, bias)."""
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Tensor)


def as_tensor(value: Any) -> Tensor:
    """A tensor of a tensor or an array."""
    if isinstance(value, Tensor):
        return value.detach()
    return torch.from_numpy(np.ascontiguousarray(value)).reshape(value.shape)


def _flat(node: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = _joined(prefix, str(key))
        if is_packed(value):
            yield name, value
        elif isinstance(value, Tensor) or _is_numeric(value):
            yield name, as_tensor(value)
    for key, value in _parts(node).items():
        yield from _flat(value, _joined(prefix, str(key)))


def _parts(node: Mapping[Any, Any]) -> dict[Any, Mapping[Any, Any]]:
    """The mappings inside of one, but for those of optimizers, schedulers and the like."""
    return {
        key: value
        for key, value in node.items()
        if isinstance(value, Mapping) and not _NO_WEIGHTS.fullmatch(str(key).lower())
    }


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _of_pickled_module(node: Unknown, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """The state dict of a module that was not rebuilt: of torch's own dicts, or of TorchScript."""
    parts = node.state.get("_modules")
    if not isinstance(parts, Mapping):  # TorchScript keeps attributes one by one
        parts = node.state
        held: Mapping[str, Any] = node.state
    else:
        skipped = node.state.get("_non_persistent_buffers_set", ())
        buffers = node.state.get("_buffers") or {}
        kept = {name: value for name, value in buffers.items() if name not in skipped}
        held = {**(node.state.get("_parameters") or {}), **kept}
    for name, value in held.items():
        if isinstance(value, Tensor):
            yield _joined(prefix, name), value.detach()
    for name, part in parts.items():
        if isinstance(part, Unknown):
            yield from _of_pickled_module(part, _joined(prefix, name))


def _split(path: str, flat: State) -> Iterator[tuple[str, State]]:
    """Also names sets that lie inside of another by the first part of their names."""
    inside: dict[str, State] = {}
    for name, value in flat.items():
        first, _, tail = name.partition(".")
        if tail and in_another_set(name):
            inside.setdefault(first, {})[tail] = value
    if any(not in_another_set(name) for name in flat):
        yield path, flat
    for first, state in inside.items():
        yield _joined(path, first), state


def in_another_set(name: str) -> bool:
    """Whether a weight's name says that it belongs to an average, a teacher or a student."""
    return name.partition(".")[0] in (*AVERAGED, *_BESIDE)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
