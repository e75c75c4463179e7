"""Hooks that never hurt what they watch: no error reaches it, and a copy of it is not watched."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor  # what torch.export calls a model with


class Hook:
    """Calls a function of a module's call, whose errors are told instead of raised.

    Copies and pickles of a watched module carry a hook that does nothing.

    Args:
        act: what is done with what the module was given and answers.
        told: gets the errors.
    """

    def __init__(self, act: Callable[..., None], told: Callable[[Exception], None]) -> None:
        self._act, self._told = act, told

    def __call__(self, *call: Any) -> None:
        """Acts, unless the module is only being traced or compiled."""
        if torch.compiler.is_compiling() or torch._C._get_tracing_state():
            return
        try:
            self._act(*call)
        except Exception as error:  # whatever it is, the served forward goes on
            self._told(error)

    def __deepcopy__(self, _: Any) -> Callable[..., None]:
        return unwatched

    def __reduce__(self) -> tuple[Any, ...]:
        return _unwatched, ()


def unwatched(*_: Any) -> None:
    """The hook of a copy."""


def _unwatched() -> Callable[..., None]:
    return unwatched


def transformed(value: Tensor) -> bool:
    """Whether a tensor holds no numbers of its own: under `vmap`, `grad` or without any memory.

    What is kept of it would outlive the transform, and fail when it is looked at.
    """
    functorch = getattr(torch._C, "_functorch", None)
    inside = functorch is not None and functorch.peek_interpreter_stack() is not None
    return inside or isinstance(value, FakeTensor) or value.is_meta


def answer_of(value: Any) -> Tensor | None:
    """The tensor in what a module answers: the one called `logits`, or else the first one.

    Args:
        value: a tensor, a tuple, list or dictionary of them, or an object that has them.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, tuple | list):
        parts, named = list(value), {}
    else:
        named = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
        parts = list(named.values())
    logits = getattr(value, "logits", named.get("logits"))
    return next((part for part in [logits, *parts] if isinstance(part, Tensor)), None)


def fitted_root(model: nn.Module, names: list[str]) -> tuple[nn.Module, dict[str, str], bool]:
    """Finds, in another model, the network that layers were named in.

    People keep the same network bare, in a LightningModule as `model`, or in DataParallel.

    Args:
        model: which has these layers, perhaps under or without a common prefix.
        names: of layers in the network they were named in.

    Returns:
        The module that is that network, the layers' names in it, and whether it is that network
        without what was round it: then what comes in and out of it may be something else.
    """
    parts = dict(model.named_modules())
    roots = sorted(parts, key=lambda name: (name.count("."), name != ""))
    for depth in range(min((name.count(".") for name in names), default=0) + 1):
        if len({tuple(name.split(".")[:depth]) for name in names}) > 1:
            break
        inner = {name: name.split(".", depth)[depth] for name in names}
        for root in roots:
            if all(".".join(filter(None, (root, name))) in parts for name in inner.values()):
                return parts[root], inner, depth > 0
    return model, {name: name for name in names}, False
