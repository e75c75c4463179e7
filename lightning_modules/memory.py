"""How much memory a piece of work takes at its peak."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory(work: Callable[[], object], device: torch.device | None = None) -> int:
    """Most bytes of tensors that are alive at once, above what was before.

    Counted tensor by tensor on a CPU, so that the number is exact and the same on every machine;
    by torch's allocator on a GPU.

    Args:
        work: is done once on a CPU, twice on a GPU.
        device: where it computes; default: the CPU.
    """
    if device is not None and device.type == "cuda":
        work()  # what libraries allocate once is not the work's
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with _Allocations() as seen:
        work()
    return seen.peak


class _Allocations(TorchDispatchMode):
    """Follows every storage that an operation makes until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        given = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}
        output = func(*args, **(kwargs or {}))
        for tensor in _tensors(output):
            storage = tensor.untyped_storage()
            if storage._cdata not in self._seen | given:
                self._seen.add(storage._cdata)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._free, storage._cdata, storage.nbytes())
        return output

    def _add(self, size: int) -> None:
        self.live += size
        self.peak = max(self.peak, self.live)

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
