"""Whether a network's answers come from its own parameters, so that damage reaches them."""

from weakref import WeakSet

import torch
from torch import Tensor, nn

from callbacks.damage.variant import answered_with, with_aliases
from callbacks.duplication import duplicate
from callbacks.leave_no_trace import leave_no_trace
from datamodules.errors import UserError

_APART = 0.01
"""Of what other weights change; rounding, where a copy lays memory out anew, is far below."""

_PASSED: WeakSet[nn.Module] = WeakSet()
"""Models that were looked at; once is enough for all damages of a run."""


@torch.no_grad()
def check_exchangeable(model: nn.Module, image: Tensor) -> None:
    """Refuses a network that keeps weights or layers elsewhere too: in a list, a closure, a global.

    With every parameter moved, the network that is asked with other parameters (as damage probes
    do) must answer as a copy that has them (as repairs do), and otherwise than before. A network
    that answers at random is not judged.

    Args:
        model: left as it is, answers logits.
        image: `(N, C, H, W)`, a few.

    Raises:
        UserError: damage would miss some of what answers.

    Example:
        >>> check_exchangeable(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(1, 1, 2, 2))
    """
    if model in _PASSED:
        return
    moved = {n: _moved(p) for n, p in model.named_parameters() if p.is_floating_point()}
    with leave_no_trace(model, "A look at what answers"):
        clean, again = model(image), model(image)
        if not moved or not torch.equal(clean.nan_to_num(), again.nan_to_num()):
            return
        exchanged = answered_with(model, with_aliases(model, moved), image)
        copied = _copied(model, moved)(image)
    told = exchanged.isfinite() & copied.isfinite() & clean.isfinite()  # a masked class is not
    if not bool(told.any()):
        return
    change, difference = _largest((exchanged - clean)[told]), _largest((exchanged - copied)[told])
    if difference > _APART * change or change == 0:
        raise UserError(
            "Expected a network whose answers come from its own parameters, but it does not answer "
            "as a copy of it when these are exchanged: it keeps weights or layers in a list, a "
            "closure or a global too, and damage would miss them. Let `forward` read them from the "
            "module's attributes."
        )
    _PASSED.add(model)


def _moved(parameter: Tensor) -> Tensor:
    """A tenth of its size away at random, zeros too; so little that no deep network overflows."""
    generator = torch.Generator().manual_seed(parameter.numel())
    noise = torch.randn(parameter.shape, generator=generator).to(parameter)
    size = parameter.square().mean().sqrt()
    other = torch.empty_like(parameter)  # in the same memory layout
    return other.copy_(parameter + torch.where(size > 0, 0.1 * size, 0.01) * noise)


def _copied(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    copy = duplicate(model)
    for name, parameter in copy.named_parameters():
        if name in state:
            parameter.copy_(state[name])
    return copy


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())
