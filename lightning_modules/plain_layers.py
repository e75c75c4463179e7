"""Linear layers and convolutions whose weights can be given other outputs, in place."""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm

from datamodules.errors import UserError

Layer = nn.Linear | nn.Conv2d


def is_plain(layer: nn.Module) -> TypeGuard[Layer]:
    """Whether all that a layer does is weight · input + bias, with parameters of its own.

    Subclasses, hooks, groups, and weights that are computed from others do more.
    """
    return (
        type(layer) in (nn.Linear, nn.Conv2d)
        and "forward" not in vars(layer)
        and not (layer._forward_hooks or layer._forward_pre_hooks)
        and getattr(layer, "groups", 1) == 1
        and "weight" in layer._parameters
        and "bias" in layer._parameters
    )


def plain_layer(network: nn.Module, name: str) -> Layer:
    """Returns a layer whose weight is a parameter of its own.

    Parametrisations, weight and spectral norm and pruning are composed into the weight for good.

    Args:
        network: changed in place where there was one.
        name: of the layer.

    Raises:
        UserError: it is no linear layer or ungrouped convolution.
    """
    layer = network.get_submodule(name)
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise UserError(
            f"Expected a linear layer or convolution as the head, but {name!r} is of type "
            f"{type(layer).__name__}, which cannot be given other outputs."
        )
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise UserError(f"Expected a head without groups, but {name!r} has {layer.groups}.")
    compose(layer)
    return layer


def compose(layer: nn.Module) -> None:
    """Replaces computed weights of a module by plain ones of the same value."""
    for tensor in list(getattr(layer, "parametrizations", ())):
        _own_class(layer)
        parametrize.remove_parametrizations(layer, tensor)
    for tensor in ("weight", "bias"):
        if hasattr(layer, f"{tensor}_g"):
            remove_weight_norm(layer, tensor)
        elif hasattr(layer, f"{tensor}_u"):
            remove_spectral_norm(layer, tensor)
        elif hasattr(layer, f"{tensor}_mask"):
            prune.remove(layer, tensor)


def _own_class(layer: nn.Module) -> None:
    """Parts a layer from its copies, whose class is one: torch takes the weight off the class."""
    shared = type(layer)
    own = {name: x for name, x in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    layer.__class__ = type(shared.__name__, shared.__bases__, own)  # type: ignore[assignment]


def resize(layer: Layer, outputs: int, rows: Tensor | None = None) -> None:
    """Gives a layer other outputs: freshly initialised, or some of its own, in any order.

    The module stays the same object, so that it changes under all of its names; its weight is a new
    parameter, so that another module that shared it keeps the old one.

    Args:
        layer: changed in place.
        outputs: how many.
        rows: `(outputs,)` old output of each new one; None draws them as torch does, on the CPU.
    """
    weight, bias = (None, None) if rows is None else _chosen(layer, rows)
    if weight is None:
        fresh = _fresh(layer, outputs)
        weight, bias = fresh.weight, fresh.bias
    own = layer.weight
    layer.weight = nn.Parameter(weight.detach().to(own.device, own.dtype))
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().to(own.device, own.dtype))
    if isinstance(layer, nn.Linear):
        layer.out_features = outputs
    else:
        layer.out_channels = outputs


def _chosen(layer: Layer, rows: Tensor) -> tuple[Tensor, Tensor | None]:
    return layer.weight[rows], None if layer.bias is None else layer.bias[rows]


def _fresh(layer: Layer, outputs: int) -> Layer:
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, outputs, bias)
    size: tuple[int, int] = layer.kernel_size  # type: ignore[assignment]
    return nn.Conv2d(layer.in_channels, outputs, size, bias=bias)


def with_inputs(layer: nn.Conv2d, channels: int) -> None:
    """Gives a convolution fresh weights for images of other channels, in place."""
    size: tuple[int, int] = layer.kernel_size  # type: ignore[assignment]
    fresh = nn.Conv2d(channels, layer.out_channels, size, bias=layer.bias is not None)
    own = layer.weight
    layer.weight = nn.Parameter(fresh.weight.detach().to(own.device, own.dtype))
    if layer.bias is not None and fresh.bias is not None:
        layer.bias = nn.Parameter(fresh.bias.detach().to(own.device, own.dtype))
    layer.in_channels = channels


def negate(layer: Layer) -> None:
    """Turns the sign of every output, in place."""
    with torch.no_grad():
        layer.weight.neg_()
        if layer.bias is not None:
            layer.bias.neg_()
