"""What a student competes with: its teacher, pruned to the same work or rounded to few bits."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from datamodules.errors import UserError
from lightning_modules.distillation.work import macs, positions, weight_of
from lightning_modules.duplication import duplicate
from lightning_modules.plain_layers import compose

Module = TypeVar("Module", bound=nn.Module)


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


def pruning_masks(model: nn.Module, image: Tensor, most: int) -> dict[str, Tensor]:
    """Masks that keep the weights of highest score whose work together is at most `most`.

    By layer-adaptive magnitude (LAMP: Lee et al. 2021, 2010.07611). Plain magnitude, compared
    across layers, would spend the whole budget on a first layer whose few weights are large.

    Args:
        model: in eval mode.
        image: `(1, C, H, W)`.
        most: multiply-accumulates of one image that may be left; products of activations, as in
            attention, cannot be pruned and come first.

    Returns:
        Bool masks by layer (see `positions`), of the shape of its weight.

    Raises:
        UserError: nothing would be left.
    """
    used = positions(model, image)
    fixed = _unweighted(model, image, used)
    scores = {name: lamp(weight_of(model, name).detach()) for name in used}
    score = torch.cat([value.flatten() for value in scores.values()])
    cost = torch.cat(
        [torch.full_like(value.flatten(), used[name]) for name, value in scores.items()]
    )
    order = score.argsort(descending=True)
    kept = torch.zeros_like(score, dtype=torch.bool)
    kept[order] = cost.double()[order].cumsum(0) <= most - fixed
    if not bool(kept.any()):
        rest = f", of which {fixed} are products of activations" if fixed else ""
        raise UserError(f"Expected `macs` that leave at least one weight, but got {most}{rest}.")
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
        weight = weight_of(model, name)
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
    used = positions(model, image)
    zeros = {name: int((weight_of(model, name) == 0).sum()) for name in used}
    parameters = sum(parameter.numel() for parameter in model.parameters()) - sum(zeros.values())
    saved = sum(zeros[name] * weight_of(model, name).element_size() for name in used)
    work = macs(model, image) - sum(zeros[name] * places for name, places in used.items())
    return Compressed(model, parameters, work, _bytes(model) - saved)


def rounded(model: nn.Module, image: Tensor, bits: int = 8) -> Compressed:
    """A copy whose weights are rounded to `bits` symmetric integers, a scale an output channel.

    The arithmetic stays in floats: accuracy is that of weight-only quantisation, speed is not.

    Args:
        model: in eval mode.
        image: `(1, C, H, W)`.
        bits: 2 to 16.
    """
    made, top = composed(duplicate(model)), 2 ** (bits - 1) - 1
    saved = 0.0
    for name in positions(made, image):
        weight = weight_of(made, name)
        with torch.no_grad():
            largest = weight.abs().flatten(1).amax(1).clamp_min(torch.finfo(weight.dtype).tiny)
            scale = (largest / top).view(-1, *[1] * (weight.ndim - 1))
            weight.copy_((weight / scale).round() * scale)
        size = weight.element_size()
        saved += weight.numel() * (size - bits / 8) - size * len(weight)
    parameters = sum(parameter.numel() for parameter in made.parameters())
    return Compressed(made, parameters, macs(made, image), round(_bytes(made) - saved))


def composed(model: Module) -> Module:
    """Makes weights that are computed from others plain ones, in place: those can be changed."""
    for part in model.modules():
        compose(part)
    return model


def _bytes(model: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def _unweighted(model: nn.Module, image: Tensor, used: Mapping[str, int]) -> int:
    """Multiply-accumulates that are of no weight of `positions`, such as those inside attention."""
    work = sum(places * weight_of(model, name).numel() for name, places in used.items())
    return max(macs(model, image) - work, 0)
