"""Looks at what a layer answers, without leaving a hook behind."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError, suggestion


def network_of(model: Queries) -> nn.Module:
    """The module that answers queries.

    Raises:
        UserError: it is a plain function, which has no layers.
    """
    if not isinstance(model.model, nn.Module):
        raise UserError(
            f"Expected a torch module, whose layers can be looked at, but {type(model.model)!r} "
            "answers: explain a copy of the module instead of a function."
        )
    return model.model


@contextmanager
def outputs_of(model: Queries, layer: str) -> Iterator[list[Tensor]]:
    """Collects a layer's outputs, one for each call, as long as the context is entered.

    Raises:
        UserError: there is no such layer.
    """
    network, found = network_of(model), []
    model.require_layers()
    names = dict(network.named_modules())
    if layer not in names:
        raise UserError(f"The model has no layer {layer!r}.{suggestion(layer, names)}")
    handle = names[layer].register_forward_hook(lambda _, __, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.MaxPool2d,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
_LAST = {nn.Linear, nn.LayerNorm}
"""By their very type: torchvision's LayerNorm2d turns the channels back to the front."""


def as_grid(output: object, module: nn.Module | None = None) -> Tensor | None:
    """Reads a layer's output as maps `(N, K, h, w)`, or None where it has no two directions.

    Convolutions answer so; where channels come last they are moved; tokens `(N, T, K)` are laid out
    as a square, a class token in front is dropped.

    Args:
        output: of the layer, or its gradient.
        module: the layer, whose type may say where its channels are; where it does not, and of
            None, they are last if the other two directions are alike and they are not, as in Swin.
    """
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return None
    if output.ndim == 4:
        maps = output.movedim(-1, 1) if _channels_last(output, module) else output
    else:
        side = int(output.shape[1] ** 0.5)
        tokens = output[:, output.shape[1] - side**2 :]
        if output.shape[1] - side**2 > 1:
            return None
        maps = tokens.mT.unflatten(2, (side, side))
    return maps if min(maps.shape[-2:]) > 1 else None


def _channels_last(output: Tensor, module: nn.Module | None) -> bool:
    if type(module) in _LAST or isinstance(module, _FIRST):
        return type(module) in _LAST
    alike = output.shape[1] == output.shape[2] != output.shape[3]
    if not alike or module is None:
        return alike
    parts = {type(part) for part in module.modules()}  # of a block, is there one with them last?
    return len(parts) == 1 or not _LAST.isdisjoint(parts)


@torch.enable_grad()
def last_grid_layer(model: Queries, image: Tensor) -> str:
    """Finds the last layer whose places still matter to the answer.

    In a convolutional network that is what is pooled; in a vision transformer the first
    normalisation of the last block, because behind it only the class token is read.

    Args:
        model: its module is asked once about one image of noise, which is not counted.
        image: `(N, C, H, W)`; only its shape and type matter.

    Raises:
        UserError: no layer answers in maps.
    """
    network, found = network_of(model), []
    model.require_layers()
    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: found.append((name, output)))
        for name, part in network.named_modules()
        if name
    ]
    noise = Draw(0, torch.zeros(1, dtype=torch.int64, device=image.device))
    one = noise.uniform("layer", 0, tuple(image.shape[1:])).to(image).requires_grad_()
    try:
        with model.context():
            logits = network(one)
    finally:
        for handle in handles:
            handle.remove()
    parts = dict(network.named_modules())
    candidates = [(name, out) for name, out in found if _of_the_image(out, parts[name])]
    if not candidates:
        raise UserError("No layer of the model answers in maps: name one, or explain by gradient.")
    tensors = [out for _, out in candidates]
    gradients = torch.autograd.grad(logits.float().square().sum(), tensors, allow_unused=True)
    later = zip(reversed(candidates), reversed(gradients), strict=True)
    return next((name for (name, _), g in later if _anywhere(g, parts[name])), candidates[-1][0])


def _of_the_image(output: object, part: nn.Module) -> bool:
    """Whether an output is maps of the image; Swin V2 also makes some of positions alone."""
    if not isinstance(output, Tensor) or not output.requires_grad:
        return False
    return as_grid(output, part) is not None


def _anywhere(gradient: Tensor | None, part: nn.Module) -> bool:
    maps = None if gradient is None else as_grid(gradient, part)
    return maps is not None and bool((maps != 0).any())
