"""A module is given back as it was, also when something goes wrong in between."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Where torch.nn.Module keeps what `register_*hook` adds; ordinary dictionaries, safe to copy back.
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class TraceError(RuntimeError):
    """Weights were edited while they should only be looked at: a mistake in a probe."""


@contextmanager
def leave_no_trace(module: nn.Module, who: str = "What was measured") -> Iterator[None]:
    """Freezes a module in evaluation mode and undoes every trace at the end.

    Restores training modes, `requires_grad`, gradients, hooks, buffers, which tensors stand where,
    and the global random states of torch, numpy and Python. Weights are not copied: nothing here
    may edit them in place, and checksums of their bits tell if something did.

    Args:
        module: whatever is about to be measured.
        who: does so, for the error.

    Raises:
        TraceError: weights were edited in place.
    """
    modes = {part: part.training for part in module.modules()}
    flags = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    hooks = [(getattr(part, name), dict(getattr(part, name))) for part in modes for name in _HOOKS]
    places = [(vars(part), _kept(part)) for part in modes]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    names = [name for name, _ in module.named_parameters()]
    before = [checksum(p) for p, *_ in flags]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(sorted({p.device for p, *_ in flags if p.is_cuda}, key=str)):
            module.eval().requires_grad_(False)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for part, training in modes.items():
            part.training = training
        for own, (tensors, *registered) in places:
            own.update(tensors)
            for live, kept in zip((own["_parameters"], own["_buffers"]), registered, strict=True):
                live.update(kept)
        for parameter, required, gradient in flags:
            parameter.requires_grad_(required).grad = gradient
        with torch.no_grad():
            for buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
        for live, kept in hooks:
            live.clear()
            live.update(kept)
    # Compared at once, so that a GPU is waited for a single time.
    after = [checksum(p) for p, *_ in flags]
    edited = [n for n, a, b in zip(names, before, after, strict=True) if not torch.equal(a, b)]
    if edited:
        raise TraceError(
            f"{who} edited the weights {edited[0]!r} of the model in place: its numbers and all "
            "that follow are void. The mistake is in the probe; load the model anew."
        )


@torch.no_grad()
def checksum(tensor: Tensor) -> Tensor:
    """A number, on the tensor's device, that another content changes almost surely.

    The bits as integers, each times an odd number of its place, added up modulo 2^64: one changed
    element always shows, and elements that change places too.

    Args:
        tensor: of any type and shape.
    """
    bits = tensor.detach().contiguous().view(_INTEGERS[tensor.element_size()]).flatten()
    place = torch.arange(1, 2 * len(bits), 2, device=bits.device)
    return (bits * place).sum()


def _kept(part: nn.Module) -> tuple[dict[str, Any], ...]:
    """Which tensors stand where: plain ones, as weight norm's weight; parameters; buffers."""
    plain = {name: value for name, value in vars(part).items() if isinstance(value, Tensor)}
    return plain, dict(part._parameters), dict(part._buffers)
