"""Which known architecture a state dict is of."""

import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache

import torch
import torchvision
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.architectures import ARCHITECTURES, auxiliary, build, zoo
from lightning_modules.heads import fit_ends

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_SIDES = {"lenet": 28, "lenet_wide": 28, "inception_v3": 299}
_SLOW = "regnet"  # computes its widths with tensors, which the meta device cannot do

Shapes = Mapping[str, tuple[int, ...]]


def fitting(state: dict[str, Tensor]) -> str | None:
    """The first architecture that loads these weights, nearest in size first."""
    shapes = shapes_of(state)
    for name in [*ARCHITECTURES, *_nearest(shapes)]:
        network = fitted(name, state)
        own = shapes_of(network.state_dict()) if network else {}
        needed = {k: v for k, v in own.items() if k in shapes or not k.endswith(BUFFERS[2])}
        given = {k: v for k, v in shapes.items() if k in own or not auxiliary(k)}
        if needed == given and network is not None and _loads(network, state):
            return name
    return None


def closest(state: dict[str, Tensor]) -> list[str]:
    """Up to three with more than 30 % of names and shapes in common, best first."""
    shapes = shapes_of(state)
    shared: dict[str, float] = {}
    for name in [*ARCHITECTURES, *_nearest(shapes)]:
        network = fitted(name, state)
        own = set(shapes_of(network.state_dict()).items()) if network else set()
        mine = set(shapes.items())
        shared[name] = len(own & mine) / max(len(own | mine), 1)
    ranked = sorted(shared, key=lambda name: -shared[name])[:3]
    return [name for name in ranked if shared[name] > 0.3]


def fitted(name: str, state: dict[str, Tensor]) -> nn.Module | None:
    """The network on no device, with the classes and channels of the state dict."""
    network = _candidate(name)
    try:
        with torch.device("meta"):
            fit_ends(network, state)
    except (UserError, RuntimeError, IndexError):
        return None
    return network


def answers(name: str, network: nn.Module) -> tuple[int, int] | None:
    """Classes and channels of a network on no device, by one forward of shapes alone."""
    stem = next((p for p in network.modules() if isinstance(p, nn.Conv2d)), None)
    channels = stem.in_channels if stem is not None else 3
    image = torch.empty(2, channels, side_of(name) or 32, side_of(name) or 32, device="meta")
    try:
        with torch.no_grad():
            return network.eval()(image).shape[-1], channels
    except RuntimeError:  # the meta device lacks an operation, or the weights want another side
        return None


def side_of(architecture: str | None) -> int | None:
    """Pixels a side that an architecture was made for."""
    if architecture is None:
        return None
    name = architecture.rpartition(":")[2]
    return _SIDES.get(name, 32 if name.startswith("cifar") else 224)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def parameters_in(shapes: Shapes) -> int:
    """Numbers besides the running statistics of batch norm."""
    sizes = {k: torch.Size(v).numel() for k, v in shapes.items() if not k.endswith(BUFFERS)}
    return sum(sizes.values())


def _loads(network: nn.Module, state: dict[str, Tensor]) -> bool:
    """Whether torch itself takes the weights, on no device."""
    try:
        network.load_state_dict({k: v.to("meta") for k, v in state.items()}, strict=False)
    except RuntimeError:
        return False
    return True


def _nearest(shapes: Shapes) -> Iterator[str]:
    """Names torchvision's networks, by how near their published number of parameters is."""
    size = parameters_in(shapes)
    published = {
        name: next(iter(torchvision.models.get_model_weights(name))).meta["num_params"]
        for name in zoo()
        if name.startswith(_SLOW) == any(key.startswith("trunk_output.") for key in shapes)
    }
    ranked = sorted(published, key=lambda name: abs(published[name] - size))
    for name in ranked[:5] if ranked and ranked[0].startswith(_SLOW) else ranked:
        yield f"torchvision:{name}"


@lru_cache(maxsize=128)
def _candidate(name: str) -> nn.Module:
    with torch.device("cpu" if _SLOW in name else "meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random initialisation, which nobody will use
        return build(name, 10).to("meta")
