"""Looks at what a layer answers, without leaving a hook behind."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from callbacks.queries import Queries, differentiable
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


class LayerOutput(NamedTuple):
    """What a layer answered, before the network goes on to work in place on it.

    Args:
        value: copy `(N, ...)`; a function of the image, which may be differentiated by it.
        edge: where the layer's answer stands in autograd's graph; None without a gradient.
    """

    value: Tensor
    edge: GradientEdge | None

    @classmethod
    def of(cls, output: Tensor) -> "LayerOutput":
        """Copies an output as it is now."""
        return cls(output.clone(), edge_of(output))

    def gradient_of(self, total: Tensor) -> Tensor:
        """Differentiates a number by the layer's answer, `(N, ...)`; 0 where it does not depend.

        Raises:
            UserError: the model lets no gradient through.
        """
        if self.edge is None or not total.requires_grad:
            raise UserError(
                "The model lets no gradient through to the layer or back from the answer (no_grad "
                "or detach inside): explain it by a method without gradients, such as rise."
            )
        (gradient,) = torch.autograd.grad(total, self.edge, allow_unused=True)
        return torch.zeros_like(self.value) if gradient is None else gradient


def edge_of(output: Tensor) -> GradientEdge | None:
    """The place of a tensor in autograd's graph, which writing over the tensor does not move."""
    return get_gradient_edge(output) if output.requires_grad else None


class LayerOutputs:
    """Keeps the last output of a layer; see `outputs_of`.

    Args:
        layer: its name.
    """

    def __init__(self, layer: str) -> None:
        self.layer = layer
        self._images = 0
        self._last: Any = None

    def begin(self, _: nn.Module, args: tuple) -> None:
        """Before the network: notes how many images it is asked about."""
        self._images, self._last = len(args[0]), None

    def keep(self, _: nn.Module, __: Any, output: Any) -> None:
        """After the layer: copies its answer, of several the first one."""
        value = first_tensor(output)
        self._last = type(output).__name__ if value is None else LayerOutput.of(value)

    def take(self) -> LayerOutput:
        """Hands out the layer's answer to the images that the network was last asked about.

        Raises:
            UserError: the layer was not called, answers no tensor, or not one row an image.
        """
        last, self._last = self._last, None
        if last is None:
            why = "the network never calls it (it may use its weights only)"
        elif isinstance(last, str):
            why = f"it answers {last}"
        elif last.value.ndim < 2 or len(last.value) != self._images:
            why = f"it answers {tuple(last.value.shape)} to {self._images} images"
        else:
            return last
        raise UserError(
            f"Expected a layer that answers one row of numbers for each image, but of "
            f"{self.layer!r} {why}: choose another layer."
        )


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that an answer is, or the first one in a tuple, list or dictionary."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, tuple | list):
        return next((part for part in output if isinstance(part, Tensor)), None)
    return output if isinstance(output, Tensor) else None


@contextmanager
def outputs_of(model: Queries, layer: str) -> Iterator[LayerOutputs]:
    """Copies what a layer answers, call by call of the model, as long as the context is entered.

    Where one forward calls the layer several times the last time counts. The network is left as it
    is: a copy is taken the moment the layer answers, because what follows may work in place on it.

    Raises:
        UserError: there is no such layer.
    """
    network, kept = network_of(model), LayerOutputs(layer)
    model.require_layers()
    names = dict(network.named_modules(remove_duplicate=False))
    if layer not in names:
        raise UserError(f"The model has no layer {layer!r}.{suggestion(layer, names)}")
    handles = [
        network.register_forward_pre_hook(kept.begin),
        names[layer].register_forward_hook(kept.keep),
    ]
    try:
        yield kept
    finally:
        for handle in handles:
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
    parts = {name: part for name, part in network.named_modules() if name}

    def note(name: str, output: Any) -> None:
        if _of_the_image(output, parts[name]):
            found.append((name, get_gradient_edge(output)))

    handles = [
        part.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, part in parts.items()
    ]
    noise = Draw(0, torch.zeros(1, dtype=torch.int64, device=image.device))
    one = noise.uniform("layer", 0, tuple(image.shape[1:])).to(image).requires_grad_()
    try:
        with model.context():
            logits = network(one)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UserError("No layer of the model answers in maps: name one, or explain by gradient.")
    edges = [edge for _, edge in found]
    with differentiable():
        gradients = torch.autograd.grad(logits.float().square().sum(), edges, allow_unused=True)
    later = zip(reversed(found), reversed(gradients), strict=True)
    return next((name for (name, _), g in later if _anywhere(g, parts[name])), found[-1][0])


def _of_the_image(output: object, part: nn.Module) -> bool:
    """Whether an output is maps of the image; Swin V2 also makes some of positions alone."""
    if not isinstance(output, Tensor) or not output.requires_grad:
        return False
    return as_grid(output, part) is not None


def _anywhere(gradient: Tensor | None, part: nn.Module) -> bool:
    maps = None if gradient is None else as_grid(gradient, part)
    return maps is not None and bool((maps != 0).any())
