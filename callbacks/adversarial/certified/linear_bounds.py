"""Linear relaxation: a lower bound of a network's output that is affine in the image (CROWN)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from callbacks.adversarial.certified.program import Step
from callbacks.adversarial.certified.relaxations import (
    Box,
    interval_of,
    maximum,
    rectifier,
    through_maximum,
    through_rectifier,
)
from callbacks.adversarial.threat_models import L2, Linf

_NUMBERS = 2**24
"""Held at a time while a bound is carried backwards: 128 MiB."""


def interval_boxes(steps: Sequence[Step], image: Tensor, threat: Linf | L2) -> list[Box]:
    """Intervals of every step's output for all images of a ball (IBP, 1810.12715, 2018).

    Args:
        steps: of the network, see `program`.
        image: `(N, C, H, W)` float64 in [0, 1].
        threat: the ball; the cube that holds it is taken.
    """
    boxes: list[Box] = []
    around = _cube(image, threat)
    for step in steps:
        boxes.append(interval_of(step, [boxes[i] if i >= 0 else around for i in step.inputs]))
    return boxes


def crown_boxes(steps: Sequence[Step], image: Tensor, threat: Linf | L2) -> list[Box]:
    """The same, with the inputs of every rectifier and maximum bounded by linear relaxation.

    Only values that may have either sign are bounded again: the lines of the others are exact.
    """
    boxes: list[Box] = []
    around = _cube(image, threat)
    needed = {step.inputs[0] for step in steps if step.kind != "affine"}
    for i, step in enumerate(steps):
        box = interval_of(step, [boxes[j] if j >= 0 else around for j in step.inputs])
        boxes.append(box)
        if i in needed and step.kind == "affine":
            boxes[i] = box.within(_tightened(steps, boxes, i, image, threat))
    return boxes


def lower_bound(
    steps: Sequence[Step],
    boxes: Sequence[Box],
    at: int,
    coefficient: Tensor,
    image: Tensor,
    threat: Linf | L2,
    first: int = 0,
) -> Tensor:
    """The least that linear functions of a step's output can be in the ball.

    The bound is carried backwards: affine steps by their transpose, others by lines below them
    where a coefficient is positive and above them where it is negative (Zhang et al. 2018,
    1811.00866).

    Args:
        steps: of the network.
        boxes: intervals of the steps before `at`.
        at: position of the step.
        coefficient: `(N, S, ...)` of its output, S functions an image.
        image: `(N, C, H, W)` float64.
        threat: the ball.
        first: step before which intervals are taken instead.

    Returns:
        `(N, S)`.
    """
    size = max(1, _NUMBERS // (len(image) * _largest(boxes[: at + 1], image)))
    parts = [
        _carried(steps, boxes, at, part, image, threat, first)
        for part in coefficient.split(size, dim=1)
    ]
    return torch.cat(parts, 1)


def _carried(
    steps: Sequence[Step],
    boxes: Sequence[Box],
    at: int,
    coefficient: Tensor,
    image: Tensor,
    threat: Linf | L2,
    first: int,
) -> Tensor:
    waiting: dict[int, Tensor] = {at: coefficient}
    total = coefficient.new_zeros(coefficient.shape[:2])
    for i in range(at, first - 1, -1):
        if i not in waiting:
            continue
        step, onto = steps[i], waiting.pop(i)
        before = [boxes[j].low if j >= 0 else image for j in step.inputs]
        if step.kind == "affine":
            parts, added = _through_affine(step, onto, before)
        elif step.kind == "relu":
            part, added = through_rectifier(onto, rectifier(_box_of(boxes, step, image, threat)))
            parts = [part]
        else:
            box = _box_of(boxes, step, image, threat)
            part, added = through_maximum(onto, maximum(step, box), box.low.shape[2:])
            parts = [part]
        total = total + added
        for j, part in zip(step.inputs, parts, strict=True):
            waiting[j] = waiting[j] + part if j in waiting else part
    for i, onto in waiting.items():
        total = total + (_least(onto, image, threat) if i < 0 else _in_box(onto, boxes[i]))
    return total


def _in_box(coefficient: Tensor, box: Box) -> Tensor:
    """The least of linear functions on a box, `(N, S)`."""
    flat, low, high = coefficient.flatten(2), box.low.flatten(1), box.high.flatten(1)
    return (flat.clamp_min(0) * low[:, None] + flat.clamp_max(0) * high[:, None]).sum(2)


def _box_of(boxes: Sequence[Box], step: Step, image: Tensor, threat: Linf | L2) -> Box:
    j = step.inputs[0]
    return boxes[j] if j >= 0 else _cube(image, threat)


def _cube(image: Tensor, threat: Linf | L2) -> Box:
    """The box that holds a ball round each image; of an L∞ ball it is the ball."""
    return Box((image - threat.epsilon).clamp_min(0), (image + threat.epsilon).clamp_max(1))


def _through_affine(
    step: Step, coefficient: Tensor, before: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Multiplies by the transpose, which is the gradient; what is left at 0 is the offset."""
    n, s = coefficient.shape[:2]
    with torch.enable_grad():
        zeros = [part.new_zeros(n * s, *part.shape[1:]).requires_grad_() for part in before]
        output = step.apply(*zeros)
        inputs = torch.autograd.grad(output, zeros, coefficient.flatten(0, 1))
    offset = (coefficient.flatten(0, 1) * output.detach()).flatten(1).sum(1).reshape(n, s)
    return [part.reshape(n, s, *part.shape[1:]) for part in inputs], offset


def _least(coefficient: Tensor, image: Tensor, threat: Linf | L2) -> Tensor:
    """The least of linear functions on the ball cut by [0, 1], `(N, S)`.

    In the cube exactly; in an L2 ball the larger of the cube's bound and the ball's own.
    """
    flat, point = coefficient.flatten(2), image.flatten(1)[:, None]
    cube = _in_box(coefficient, _cube(image, threat))
    if isinstance(threat, Linf):
        return cube
    ball = (flat * point).sum(2) - threat.epsilon * flat.norm(dim=2)
    return torch.maximum(cube, ball)


def _tightened(
    steps: Sequence[Step], boxes: Sequence[Box], at: int, image: Tensor, threat: Linf | L2
) -> Box:
    """Bounds again those values of a step that may have either sign for some image."""
    low, high = (part.flatten(1).clone() for part in boxes[at])
    open_values = ((low < 0) & (high > 0)).any(0).nonzero()[:, 0]
    shape, size = boxes[at].low.shape[1:], low.shape[1]
    for some in open_values.split(max(1, _NUMBERS // (8 * len(image) * size))):
        unit = torch.zeros(len(some), size, dtype=low.dtype, device=low.device)
        unit[torch.arange(len(some)), some] = 1
        both = torch.cat((unit, -unit)).reshape(1, -1, *shape).expand(len(image), -1, *shape)
        bounds = lower_bound(steps, boxes, at, both, image, threat)
        low[:, some], high[:, some] = bounds[:, : len(some)], -bounds[:, len(some) :]
    return Box(low.reshape(-1, *shape), high.reshape(-1, *shape))


def _largest(boxes: Sequence[Box], image: Tensor) -> int:
    return max(part[0].numel() for part in (image, *(box.low for box in boxes)))
