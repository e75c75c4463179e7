"""A network without the wrappers that programs put round it."""

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrapped(network: nn.Module) -> nn.Module:
    """Takes off DataParallel, DistributedDataParallel and torch.compile, inside too, in place.

    They hide layers from hooks and rename weights; without them the network answers the same.

    Args:
        network: any.

    Returns:
        The network inside, where it was wrapped as a whole.
    """
    network = _inner(network)
    for part in list(network.modules()):
        for name, child in part._modules.items():
            if child is not None and (inner := _inner(child)) is not child:
                setattr(part, name, inner)
    for part in network.modules():
        _interpreted(part)
    return network


def _inner(network: nn.Module) -> nn.Module:
    while True:
        # By name: importing torch's compiler for isinstance would take more than a second.
        compiled = getattr(network, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            network = compiled
        elif isinstance(network, DataParallel | DistributedDataParallel):
            network = network.module
        else:
            return network


def _interpreted(part: nn.Module) -> None:
    """Undoes `module.compile()` and `module.forward = torch.compile(module.forward)`."""
    part._compiled_call_impl = None
    forward = vars(part).get("forward")
    original = getattr(forward, "_torchdynamo_orig_callable", None)
    if original is not None:
        part.forward = original  # type: ignore[method-assign]
