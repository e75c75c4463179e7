"""What is learnt beside frozen weights, and added to them for good when the training is over."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from datamodules.errors import UserError
from lightning_modules.agreement import near, probe_answers
from lightning_modules.duplication import duplicate
from lightning_modules.heads import head_name

Make = Callable[[nn.Module, Tensor], nn.Module | None]
"""From a layer and its weight to what adds to the weight; None leaves it as it is."""
_WEIGHTS = {
    nn.Linear: ("weight",),
    nn.Conv2d: ("weight",),
    nn.MultiheadAttention: ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
}


_ORDER = "_assay_order"
"""Attribute of a module that has updates: its parameters in their order."""


def add_updates(model: nn.Module, make: Make) -> list[str]:
    """Freezes a network but for its head, and puts something that learns beside its weights.

    An update is a parametrisation of the weight, not a layer round it. So it acts wherever the
    network reads the weight: under every name of a tied layer or weight, also in a layer of
    another kind or as a parameter of the network's own, and in attention, which calls none of its
    layers. The weight itself stays as it is, bit by bit.

    Args:
        model: from images to logits; changed in place.
        make: gives the update of a linear layer, convolution or attention.

    Returns:
        Dotted names of the weights that have one.

    Raises:
        UserError: a weight is computed from others already, or is read in a way that an update
            does not reach, which a copy with drawn updates finds out.
    """
    # Before the network itself has any: a copy of parametrised layers shares their classes, from
    # which merging takes the weight's property.
    with suppress(RuntimeError):  # a weight computed from others by a hook: refused by name below
        _try_merge(duplicate(model), make)
    return _added(model, make)


def _added(model: nn.Module, make: Make) -> list[str]:
    head = model.get_submodule(head_name(model))
    own = {id(parameter) for parameter in head.parameters()}
    inside = {id(layer) for layer in head.modules()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in own)
    updates: dict[int, nn.Module | None] = {}  # tied weights stay tied
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
        if id(weight) not in updates:
            updates[id(weight)] = make(layer, weight)
    updated = []
    for name, part in list(model.named_modules()):
        for tensor, weight in list(part._parameters.items()):
            update = updates.get(id(weight))
            if update is not None:
                vars(part).setdefault(_ORDER, tuple(part._parameters))
                parametrize.register_parametrization(part, tensor, update)
                updated.append(f"{name}.{tensor}".lstrip("."))
    return updated


def merge_updates(model: nn.Module) -> None:
    """Writes every update into its weight; names and types are those of the network again.

    Args:
        model: changed in place; one without updates stays as it is.

    Raises:
        UserError: it answers otherwise than before, by more than 1e-4 of its largest score (or ten
            roundings of its type), so that it is not what was trained.
    """
    updated = [
        (layer, tensor, getattr(layer, tensor).detach().clone())
        for layer in model.modules()
        if parametrize.is_parametrized(layer)
        for tensor, parts in layer.parametrizations.items()  # type: ignore[union-attr, operator]
        if any(isinstance(part, WeightUpdate) for part in parts)
    ]
    if not updated:
        return
    before = probe_answers(model)
    with torch.no_grad():  # all are computed before the first is written: some are tied
        for layer, tensor, value in updated:
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=False)
            layer.get_parameter(tensor).copy_(value)
    for layer in {layer: None for layer, _, _ in updated}:  # names in the order they had
        own = {name: layer._parameters[name] for name in vars(layer).pop(_ORDER)}
        layer._parameters.clear()
        layer._parameters.update(own)
    after = probe_answers(model)
    if before is not None and not _same(before, after):
        raise UserError(
            f"Expected {type(model).__name__} to answer the same with updates beside its weights "
            "and within them, but it does not: it reads a weight as something else than a "
            "registered parameter (a view, a copy, a list). Take --tuning.mode full or last_k."
        )


def _try_merge(trial: nn.Module, make: Make) -> None:
    """Merges drawn updates in a copy, so that what cannot be merged is refused before training."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        _added(trial, make)
        for update in (part for part in trial.modules() if isinstance(part, WeightUpdate)):
            for parameter in update.parameters():
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.01 * drawn.to(parameter))
    merge_updates(trial)


def _same(before: Tensor, after: Tensor | None) -> bool:
    tolerance = max(1e-4, 10 * torch.finfo(before.dtype).eps)
    return after is not None and near(after, before, tolerance)


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
