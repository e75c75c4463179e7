"""How far fine-tuning has moved a model: what its layers say, and what its weights are."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.transfer.cka import LinearCKA


@torch.no_grad()
def layer_similarity(
    before: nn.Module, after: nn.Module, images: Iterable[Tensor], layers: Sequence[str]
) -> dict[str, float]:
    """Compares two states of a network layer by layer, on the same batches.

    Args:
        before: in eval mode.
        after: the same network after training, in eval mode.
        images: batches `(n, C, H, W)` of at least four; the terms add up over them.
        layers: dotted names of modules that return a tensor.

    Returns:
        Unbiased linear CKA of each layer; 1 where nothing has moved.
    """
    by_layer = {name: LinearCKA() for name in layers}
    for image in images:
        one, other = outputs(before, image, layers), outputs(after, image, layers)
        for name, similarity in by_layer.items():
            if name in one:  # a layer that the forward pass does not call says nothing
                similarity.update(one[name], other[name])
    return {name: similarity.compute() for name, similarity in by_layer.items()}


@torch.no_grad()
def activation_distance(
    before: nn.Module, after: nn.Module, images: Iterable[Tensor], layers: Sequence[str]
) -> dict[str, float]:
    """How far the answers of layers lie from those of another state of the network.

    Args:
        before: in eval mode.
        after: the same network changed, in eval mode.
        images: batches `(n, C, H, W)`.
        layers: dotted names of modules that return a tensor; "" is the network itself.

    Returns:
        |after - before| / |before| of each layer in the L2 norm over all images, >= 0; NaN where
        the layer answers 0, has another shape, or is not called.
    """
    way, start = (dict.fromkeys(layers, 0.0) for _ in range(2))
    for image in images:
        one, other = outputs(before, image, layers), outputs(after, image, layers)
        for name in layers:
            old, new = one.get(name), other.get(name)
            if old is None or new is None or old.shape != new.shape:
                way[name] = float("nan")
                continue
            way[name] += float((new.double() - old.double()).square().sum())
            start[name] += float(old.double().square().sum())
    return {
        name: (way[name] / start[name]) ** 0.5 if start[name] > 0 else float("nan")
        for name in layers
    }


def outputs(model: nn.Module, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Runs a model once and returns copies of what the named layers answered.

    Copies, because what follows a layer may work in place on its answer.
    """
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name in layers:

            def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
                seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone()

            handle = model.get_submodule(name).register_forward_hook(keep)
            hooks.callback(handle.remove)
        model(image)
    return seen


def weight_distance(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], prefix: str = ""
) -> float:
    """Length of the way the weights went, relative to where they started.

    Args:
        before: names and parameters; those of other shape (a new head) are left out.
        after: the same of the trained model.
        prefix: only of parameters so named.

    Returns:
        |after - before| / |before| in the L2 norm, >= 0; NaN where there is nothing to compare.
    """
    way = start = 0.0
    for name, weight in before.items():
        other = after.get(name)
        if name.startswith(prefix) and other is not None and other.shape == weight.shape:
            old, new = weight.detach().double(), other.detach().double().to(weight.device)
            way += float((new - old).square().sum())
            start += float(old.square().sum())
    return (way / start) ** 0.5 if start > 0 else float("nan")
