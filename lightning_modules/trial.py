"""One forward of a network that nobody knows yet, which leaves it as it was."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from datamodules.errors import UserError
from lightning_modules.answer_rule import AnswerRule, placed

_SIDES = (32, 28, 224, 64, 8, 16, 96, 128, 48, 299, 384)
MEMORY = "_assay_knows"
"""Attribute of a network that keeps what was found out, so that copies know it too."""


class Call(NamedTuple):
    """One call of a module that has weights of its own.

    Args:
        name: of the module.
        given: the first tensor it got.
        output: what it answered, before anything could change it in place.
    """

    name: str
    given: Tensor
    output: Tensor


class Trial(NamedTuple):
    """What a network answered, and what its layers said on the way.

    Args:
        answer: as it came.
        calls: in the order of execution.
    """

    answer: Any
    calls: list[Call]


@contextmanager
def undisturbed(network: nn.Module, seed: int = 0) -> Iterator[None]:
    """Puts a network into eval mode; modes, buffers and random states are given back.

    Args:
        network: any.
        seed: of torch's generators inside, for networks that draw also in eval mode.
    """
    modes = [(part, part.training) for part in network.modules()]
    buffers = [(b, b.detach().clone()) for b in network.buffers() if not is_unmade(b)]
    devices = sorted({p.device for p in network.parameters() if p.is_cuda}, key=str)
    try:
        with torch.random.fork_rng(devices):
            torch.default_generator.manual_seed(seed)
            for device in devices:  # not of all devices: others' states are not given back
                torch.cuda.default_generators[device.index or 0].manual_seed(seed)
            network.eval()
            yield
    finally:
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):  # else autograd would take it for changed
                    buffer.copy_(before)


def tried(network: nn.Module, image: Tensor) -> Trial:
    """Sends images through a network in eval mode and watches its layers.

    Args:
        network: any.
        image: `(N, C, H, W)`, as the network takes them; brought to its device and type.
    """
    calls: list[Call] = []
    parts = [(name, part) for name, part in network.named_modules() if name and _weighted(part)]
    handles = [
        part.register_forward_hook(_watch(name, calls), with_kwargs=True) for name, part in parts
    ]
    try:
        with undisturbed(network), torch.no_grad():
            return Trial(network(as_taken(network, image)), calls)
    finally:
        for handle in handles:
            handle.remove()


def as_taken(network: nn.Module, image: Tensor) -> Tensor:
    """Brings images to the device and the floating type of a network's first weight."""
    first = next((p for p in network.parameters() if p.is_floating_point()), None)
    return image if first is None else image.to(first.device, first.dtype)


def first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The first tensor among the arguments of a call, by position or by name."""
    return next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)


def is_lazy(network: nn.Module) -> bool:
    """Whether a layer waits for the first image to learn its own shape."""
    return any(
        isinstance(part, LazyModuleMixin) and part.has_uninitialized_params()  # type: ignore[misc]
        for part in network.modules()
    )


def example(network: nn.Module, channels: int | None = None) -> Tensor | None:
    """Random images `(2, C, H, W)` in [0, 1] that a network accepts; None where none is found.

    The shape that was remembered is taken, else usual ones are tried; a shape that is answered with
    a row of scores an image goes before one that is answered with a map.

    Args:
        network: any.
        channels: to be tried; by default 3, then 1.
    """
    if is_lazy(network):
        return None
    shape = memory(network).get("shape")
    if shape is not None and channels in (None, shape[0]):
        return _noise(shape)
    accepted = []
    for count in (3, 1) if channels is None else (channels,):
        for side in dict.fromkeys((*_stated_sides(network, count), *_SIDES)):
            answered = _answered(network, _noise((count, side, side)))
            if answered is not None:
                accepted.append((count, side, side))
            if answered:
                remember_shape(network, accepted[-1])
                return _noise(accepted[-1])
    if not accepted:
        return None
    remember_shape(network, accepted[0])
    return _noise(accepted[0])


def memory(network: nn.Module) -> dict[str, Any]:
    """What was found out about a network; plain values, kept by copies."""
    return vars(network).setdefault(MEMORY, {})


def remember_shape(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Keeps the shape `(C, H, W)` of images that a network has answered."""
    memory(network)["shape"] = tuple(shape)


def fixed_side(network: nn.Module) -> int | None:
    """The only side of images that a network can take, where it says so: transformers do."""
    for part in network.modules():
        side = getattr(part, "image_size", None)  # of torchvision and transformers
        if side is None and getattr(part, "strict_img_size", False):  # of timm
            side = getattr(part, "img_size", None)
        side = side[0] if isinstance(side, tuple | list) and side else side
        if isinstance(side, int) and side > 0:
            return side
    return None


def reason_of(error: BaseException) -> str:
    """The type and first line of an error, for a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _stated_sides(network: nn.Module, channels: int) -> Iterator[int]:
    """Sides that the network's own shapes speak of."""
    if (side := fixed_side(network)) is not None:
        yield side
    first = next((p for p in network.modules() if isinstance(p, nn.Linear | nn.Conv2d)), None)
    if isinstance(first, nn.Linear) and first.in_features % channels == 0:
        side = math.isqrt(first.in_features // channels)
        if side * side * channels == first.in_features:
            yield side


def _answered(network: nn.Module, image: Tensor) -> bool | None:
    """Whether an image is answered with a row of scores; None where it is not accepted at all."""
    try:
        with undisturbed(network), torch.no_grad():
            answer = network(as_taken(network, image))
    except Exception:  # a stranger's forward may raise anything
        return None
    try:
        AnswerRule(placed(answer)).scores(answer)
    except UserError:
        return False
    return True


def _noise(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0), device="cpu")


def _watch(name: str, calls: list[Call]) -> Any:
    def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = first_tensor(args, kwargs)
        if isinstance(output, Tensor) and given is not None:
            # Clones, because a rectifier behind the layer may work in place.
            calls.append(Call(name, given.detach().clone(), output.detach().clone()))

    return hook


def _weighted(part: nn.Module) -> bool:
    """Whether a module has a matrix of weights, also a parametrised one, and no layer inside."""
    inside = (child for name, child in part.named_children() if name != "parametrizations")
    if any(True for child in inside for _ in child.parameters()):
        return False
    return any(is_unmade(p) or p.ndim >= 2 for p in part.parameters())


def is_unmade(tensor: Tensor) -> bool:
    """Whether a weight waits for the first image to learn its shape."""
    return bool(nn.parameter.is_lazy(tensor))
