"""What a student competes with: its teacher, pruned to the same work or rounded to few bits."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from datamodules.errors import UserError

_WEIGHTED = (nn.Conv2d, nn.Linear)


class Compressed(NamedTuple):
    """A smaller model and what it would take to store and run.

    Args:
        model: in the same form; pruned weights are zeros, rounded ones still floats.
        parameters: numbers that are left.
        macs: multiply-accumulates of one image, those by a zero not counted.
        bytes: of the numbers that are left; where a pruned weight stands is not counted.
    """

    model: nn.Module
    parameters: int
    macs: int
    bytes: int


def positions(model: nn.Module, image: Tensor) -> dict[str, int]:
    """How often each weight of a convolution or linear layer is used for one image, by layer.

    Args:
        model: in eval mode.
        image: `(1, C, H, W)` as the model sees it.
    """
    used_by: dict[str, int] = {}

    def counting(name: str) -> Callable[..., None]:
        def count(part: nn.Module, given: object, output: Tensor) -> None:
            channels = output.shape[1] if isinstance(part, nn.Conv2d) else output.shape[-1]
            used_by[name] = used_by.get(name, 0) + output.numel() // (len(output) * channels)

        return count

    handles = [
        part.register_forward_hook(counting(name))
        for name, part in model.named_modules()
        if isinstance(part, _WEIGHTED)
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    return used_by


def pruning_masks(model: nn.Module, image: Tensor, macs: int) -> dict[str, Tensor]:
    """Masks that keep the weights of highest score whose work together is at most `macs`.

    By layer-adaptive magnitude (LAMP: Lee et al. 2021, 2010.07611). Plain magnitude, compared
    across layers, would spend the whole budget on a first layer whose few weights are large.

    Args:
        model: in eval mode.
        image: `(1, C, H, W)`.
        macs: multiply-accumulates of one image that may be left.

    Returns:
        Bool masks by layer, of the shape of its weight.

    Raises:
        UserError: nothing would be left.
    """
    used = positions(model, image)
    scores = {name: lamp(_weight(model, name).detach()) for name in used}
    score = torch.cat([value.flatten() for value in scores.values()])
    cost = torch.cat(
        [torch.full_like(value.flatten(), used[name]) for name, value in scores.items()]
    )
    order = score.argsort(descending=True)
    kept = torch.zeros_like(score, dtype=torch.bool)
    kept[order] = cost.double()[order].cumsum(0) <= macs
    if not bool(kept.any()):
        raise UserError(f"Expected `macs` that leave at least one weight, but got {macs}.")
    parts = kept.split([value.numel() for value in scores.values()])
    return {
        name: part.view_as(value) for (name, value), part in zip(scores.items(), parts, strict=True)
    }


def lamp(weight: Tensor) -> Tensor:
    """The score of each weight: its square over the sum of all squares that are not smaller.

    The largest of a layer scores 1, so that no layer is cut off altogether.
    """
    squares, order = weight.flatten().double().square().sort()
    sums = squares.flip(0).cumsum(0).flip(0)
    score = torch.empty_like(squares)
    score[order] = squares / sums.clamp_min(torch.finfo(torch.float64).tiny)
    return score.view_as(weight)


@contextmanager
def hold_pruned(model: nn.Module, masks: dict[str, Tensor]) -> Iterator[None]:
    """Sets weights to zero, in place, and lets no gradient reach them while it is open.

    No step moves a zero without a gradient, whatever the optimizer of `Tuning`. Other than
    `torch.nn.utils.prune` this renames no weight, so that checkpoints load as those of any model.
    """
    handles = []
    for name, mask in masks.items():
        weight = _weight(model, name)
        with torch.no_grad():
            weight *= mask
        weight.requires_grad_(True)
        handles.append(weight.register_hook(_masking(mask)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _masking(mask: Tensor) -> Callable[[Tensor], Tensor]:
    copies = {mask.device: mask}  # one a device, not one a step

    def masked(gradient: Tensor) -> Tensor:
        if gradient.device not in copies:
            copies[gradient.device] = mask.to(gradient.device)
        return gradient * copies[gradient.device]

    return masked


def count_pruned(model: nn.Module, image: Tensor) -> Compressed:
    """Counts the weights that are not zero, and the work they are."""
    used, macs, zeros = positions(model, image), 0, 0
    for name, places in used.items():
        left = int(_weight(model, name).count_nonzero())
        macs, zeros = macs + places * left, zeros + _weight(model, name).numel() - left
    parameters = sum(parameter.numel() for parameter in model.parameters()) - zeros
    return Compressed(model, parameters, macs, 4 * parameters)


def rounded(model: nn.Module, image: Tensor, bits: int = 8) -> Compressed:
    """A copy whose weights are rounded to `bits` symmetric integers, a scale an output channel.

    The arithmetic stays in floats: accuracy is that of weight-only quantisation, speed is not.

    Args:
        model: in eval mode.
        image: `(1, C, H, W)`.
        bits: 2 to 16.
    """
    made, top = copy.deepcopy(model), 2 ** (bits - 1) - 1
    used, saved = positions(made, image), 0.0
    for name in used:
        weight = _weight(made, name)
        with torch.no_grad():
            largest = weight.abs().flatten(1).amax(1).clamp_min(torch.finfo(weight.dtype).tiny)
            scale = (largest / top).view(-1, *[1] * (weight.ndim - 1))
            weight.copy_((weight / scale).round() * scale)
        saved += weight.numel() * (4 - bits / 8) - 4 * len(weight)
    parameters = sum(parameter.numel() for parameter in made.parameters())
    macs = sum(places * _weight(made, name).numel() for name, places in used.items())
    return Compressed(made, parameters, macs, round(4 * parameters - saved))


def _weight(model: nn.Module, name: str) -> Tensor:
    return model.get_submodule(name).weight  # type: ignore[return-value]
