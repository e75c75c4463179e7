"""What a pickle may name and have made: plain values, arrays and tensors, and nothing else."""

import builtins
import collections
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, _utils, nn

_multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]
_numeric: Any = np._core.numeric  # type: ignore[attr-defined]


class Maker:
    """Calls a constructor, and cannot be changed.

    A pickle may set attributes on whatever it names: on a class itself it would change the class
    for the whole program.

    Args:
        make: makes a plain value and has no other effect.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *given: Any) -> Any:
        """Makes one."""
        return self._make(*given)

    def __setstate__(self, _: Any) -> None:
        """Refuses attributes.

        Raises:
            TypeError: always.
        """
        raise TypeError("a constructor takes no attributes")


def harmless(module: str, name: str) -> Any:
    """The maker of that name, or the plain value; None where it is not known to be harmless.

    Args:
        module: as in the pickle.
        name: as in the pickle.
    """
    module = module.replace("numpy.core.", "numpy._core.")
    full = f"{module}.{name}"
    if full in _MAKERS:
        return _MAKERS[full]
    if module == "numpy.dtypes" and name.endswith("DType") and hasattr(np.dtypes, name):
        return Maker(getattr(np.dtypes, name))
    if module != "torch":
        return None
    attribute = getattr(torch, name, None)
    if isinstance(attribute, torch.dtype | torch.qscheme | torch.memory_format):
        return attribute
    return _storage_type(name)


def _storage_type(name: str) -> Any:
    """What torch itself hands to its reader instead of a class of storages."""
    try:
        return torch.serialization.StorageType(name)
    except KeyError:
        return None


def _latin1(text: str, _: str = "latin1") -> bytes:
    """How protocol 2 writes bytes; the encoding is always this one."""
    return text.encode("latin1")


def _storage_from_bytes(content: bytes) -> Any:
    """How pickle.dump writes a tensor's numbers: as a file of torch.save in itself."""
    return torch.load(io.BytesIO(content), "cpu", weights_only=True)


def _without_subclass(make: Any, _: Any, given: tuple[Any, ...], *__: Any) -> Any:
    """A tensor with attributes or of a subclass, as a plain tensor."""
    return make(*given) if isinstance(make, Maker) else None


def _parameter(data: Tensor, *_: Any) -> nn.Parameter:
    return nn.Parameter(data, requires_grad=False)


_PLAIN = ("set", "frozenset", "complex", "bytearray", "slice", "range", "list", "dict", "tuple")
_REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")
_REBUILDERS += ("_rebuild_qtensor", "_rebuild_sparse_tensor")
_MAKERS: dict[str, Maker] = {
    name: Maker(make)
    for name, make in {
        **{f"builtins.{name}": getattr(builtins, name) for name in _PLAIN},
        **{f"torch._utils.{name}": getattr(_utils, name) for name in _REBUILDERS},
        "collections.OrderedDict": collections.OrderedDict,
        "collections.Counter": collections.Counter,
        "collections.defaultdict": collections.defaultdict,
        "_codecs.encode": _latin1,
        "numpy.dtype": np.dtype,
        "numpy.ndarray": np.empty,
        "numpy._core.multiarray._reconstruct": lambda *_: np.empty(0),  # the state fills it
        "numpy._core.multiarray.scalar": _multiarray.scalar,
        "numpy._core.numeric._frombuffer": _numeric._frombuffer,
        "torch.Size": torch.Size,
        "torch.device": torch.device,
        "torch.Tensor": torch.empty,
        "torch.nn.parameter.Parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _without_subclass,
        "torch.storage._load_from_bytes": _storage_from_bytes,
        "torch.serialization._get_layout": torch.serialization._get_layout,
    }.items()
}
