"""A module is given back as it was, also when something goes wrong in between."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

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


@contextmanager
def leave_no_trace(module: nn.Module) -> Iterator[None]:
    """Freezes a module in evaluation mode and undoes every trace at the end.

    Restores training modes, `requires_grad`, gradients, hooks and the global random states of
    torch, numpy and Python. Weights and buffers are not copied: nothing here may edit them in
    place, and the contract tests of every probe compare them.

    Args:
        module: whatever is about to be measured.
    """
    modes = {part: part.training for part in module.modules()}
    flags = [(p, p.requires_grad, p.grad) for p in module.parameters()]
    hooks = [(getattr(part, name), dict(getattr(part, name))) for part in modes for name in _HOOKS]
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
        for parameter, required, gradient in flags:
            parameter.requires_grad_(required).grad = gradient
        for live, before in hooks:
            live.clear()
            live.update(before)
