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
    names = dict(network.named_modules())
    if layer not in names:
        raise UserError(f"The model has no layer {layer!r}.{suggestion(layer, names)}")
    handle = names[layer].register_forward_hook(lambda _, __, output: found.append(output))
    try:
        yield found
    finally:
        handle.remove()


def as_grid(output: object) -> Tensor | None:
    """Reads a layer's output as maps `(N, K, h, w)`, or None where it has no two directions.

    Convolutions answer so; where channels come last they are moved; tokens `(N, T, K)` are laid out
    as a square, a class token in front is dropped.
    """
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        return None
    if output.ndim == 4:
        last = output.shape[1] == output.shape[2] != output.shape[3]  # Swin: height, width, channel
        maps = output.movedim(-1, 1) if last else output
    else:
        side = int(output.shape[1] ** 0.5)
        tokens = output[:, output.shape[1] - side**2 :]
        if output.shape[1] - side**2 > 1:
            return None
        maps = tokens.mT.unflatten(2, (side, side))
    return maps if min(maps.shape[-2:]) > 1 else None


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
    candidates = [(name, out) for name, out in found if _of_the_image(out)]
    if not candidates:
        raise UserError("No layer of the model answers in maps: name one, or explain by gradient.")
    tensors = [out for _, out in candidates]
    gradients = torch.autograd.grad(logits.float().square().sum(), tensors, allow_unused=True)
    later = zip(reversed(candidates), reversed(gradients), strict=True)
    return next((name for (name, _), g in later if _anywhere(g)), candidates[-1][0])


def _of_the_image(output: object) -> bool:
    """Whether an output is maps of the image; Swin V2 also makes some of positions alone."""
    return isinstance(output, Tensor) and output.requires_grad and as_grid(output) is not None


def _anywhere(gradient: Tensor | None) -> bool:
    maps = None if gradient is None else as_grid(gradient)
    return maps is not None and bool((maps != 0).any())
