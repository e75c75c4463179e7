"""Counts the hooks on a network, to prove that none is left."""

from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def hooks_left(model: nn.Module) -> int:
    """How many hooks all modules of a network have together."""
    return sum(len(getattr(part, name)) for part in model.modules() for name in _HOOKS)
