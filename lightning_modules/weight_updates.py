"""What is learnt beside frozen weights, and added to them for good when the training is over."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from datamodules.errors import UserError
from lightning_modules.heads import head_name

Make = Callable[[nn.Module, Tensor], nn.Module | None]
"""From a layer and its weight to what adds to the weight; None leaves it as it is."""
_WEIGHTS = {
    nn.Linear: ("weight",),
    nn.Conv2d: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}


def add_updates(model: nn.Module, make: Make) -> list[str]:
    """Freezes a network but for its head, and puts something that learns beside its weights.

    An update is a parametrisation of the weight, not a layer round it. So it acts wherever the
    network reads the weight: under every name of a tied layer or weight, and in attention, which
    calls none of its layers. The weight itself stays as it is, bit by bit.

    Args:
        model: from images to logits; changed in place.
        make: gives the update of a linear layer, convolution or attention.

    Returns:
        Dotted names of the weights that have one.

    Raises:
        UserError: nothing gets an update, or a weight is computed from others already.
    """
    head = model.get_submodule(head_name(model))
    own = {id(parameter) for parameter in head.parameters()}
    inside = {id(layer) for layer in head.modules()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in own)
    shared: dict[int, nn.Module | None] = {}
    updated = []
    for name, layer, tensor in list(_weights(model)):
        if id(layer) in inside:
            continue
        weight = layer._parameters.get(tensor)
        if weight is None:
            raise UserError(
                f"Got {name}.{tensor}, which is computed from other weights (weight norm, pruning, "
                "...): nothing can be added to it for good. Take --tuning.mode full or last_k."
            )
        if id(weight) in own:
            continue
        if id(weight) not in shared:  # tied weights stay tied
            shared[id(weight)] = make(layer, weight)
        update = shared[id(weight)]
        if update is not None:
            parametrize.register_parametrization(layer, tensor, update)
            updated.append(f"{name}.{tensor}")
    return updated


def merge_updates(model: nn.Module) -> None:
    """Writes every update into its weight; names and types are those of the network again.

    Args:
        model: changed in place; one without updates stays as it is.
    """
    updated = [
        (layer, tensor, getattr(layer, tensor).detach().clone())
        for layer in model.modules()
        if parametrize.is_parametrized(layer)
        for tensor, parts in layer.parametrizations.items()  # type: ignore[union-attr, operator]
        if any(isinstance(part, WeightUpdate) for part in parts)
    ]
    with torch.no_grad():  # all are computed before the first is written: some are tied
        for layer, tensor, value in updated:
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=False)
            layer.get_parameter(tensor).copy_(value)
            others = {n: p for n, p in layer._parameters.items() if n != tensor}
            own = layer._parameters[tensor]
            layer._parameters.clear()
            layer._parameters.update({tensor: own, **others})  # weights come first, as before


class WeightUpdate(nn.Module, ABC):
    """Adds `change()` to a weight."""

    @abstractmethod
    def change(self) -> Tensor:
        """What is added, as a matrix or in the weight's shape."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with what is added."""
        return weight + self.change().view_as(weight)


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Layers with the names of their weights, every layer once."""
    for name, layer in model.named_modules():
        for kind, tensors in _WEIGHTS.items():
            if isinstance(layer, kind):
                there = [t for t in tensors if getattr(layer, t, None) is not None]
                yield from ((name, layer, tensor) for tensor in there)
