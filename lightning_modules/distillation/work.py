"""What a network does for one image: multiply-accumulates, and how often each weight is used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules.trial import as_taken

_WEIGHTED = (nn.Conv2d, nn.Linear, nn.MultiheadAttention)


@torch.no_grad()
def macs(model: nn.Module, image: Tensor) -> int:
    """Multiply-accumulates of convolutions and matrix products, half of torch's FLOP count.

    Args:
        model: in eval mode.
        image: `(N, C, H, W)` as the model sees them; the count is of one.
    """
    with _every_product(), FlopCounterMode(display=False) as counter:
        model(as_taken(model, image))
    return counter.get_total_flops() // 2 // len(image)


@torch.no_grad()
def positions(model: nn.Module, image: Tensor) -> dict[str, int]:
    """How often each weight of convolutions, linear layers and torch's attention is used.

    Args:
        model: in eval mode.
        image: `(N, C, H, W)` as the model sees them; the count is of one.

    Returns:
        By layer, or for the projections into attention by weight (`attn.in_proj_weight`); a weight
        that several layers share is named after the first that uses it.
    """
    used_by: dict[str, int] = {}
    named: dict[int, str] = {}

    def counting(name: str) -> Callable[..., None]:
        def count(part: nn.Module, given: Any, options: Any, output: Any) -> None:
            for own, places in _uses(part, given, options, output):
                key = f"{name}.{own}".strip(".")
                weight = weight_of(model, key)
                if isinstance(weight, nn.Parameter):
                    key = named.setdefault(id(weight), key)
                used_by[key] = used_by.get(key, 0) + places // len(image)

        return count

    handles = [
        part.register_forward_hook(counting(name), with_kwargs=True)
        for name, part in model.named_modules()
        if isinstance(part, _WEIGHTED)
    ]
    try:
        with _every_product():
            model(as_taken(model, image))
    finally:
        for handle in handles:
            handle.remove()
    return used_by


def weight_of(model: nn.Module, name: str) -> Tensor:
    """The weight that `positions` means."""
    owner, _, own = name.rpartition(".")
    if own.endswith("proj_weight"):
        return getattr(model.get_submodule(owner), own)
    return model.get_submodule(name).weight  # type: ignore[return-value]


def _uses(
    part: nn.Module, given: tuple[Any, ...], options: dict[str, Any], output: Any
) -> Iterator[tuple[str, int]]:
    """Names of weights inside of a layer, and how often a call has used them, over all images."""
    if isinstance(part, nn.MultiheadAttention):
        # Its own forward calls no layer: one function gets all of the weights.
        named = dict(zip(("query", "key", "value"), given, strict=False)) | options
        query, key, value = (named[name].numel() // named[name].shape[-1] for name in
                             ("query", "key", "value"))  # fmt: skip
        if part.in_proj_weight is not None:
            yield "in_proj_weight", (query + key + value) // 3
        else:
            places = {"q_proj_weight": query, "k_proj_weight": key, "v_proj_weight": value}
            yield from places.items()
        yield "out_proj", query
    else:
        channels = output.shape[1] if isinstance(part, nn.Conv2d) else output.shape[-1]
        yield "", output.numel() // channels


@contextmanager
def _every_product() -> Iterator[None]:
    """Without torch's fused attention, which is counted as nothing and calls no layer."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
