"""Newton's method for smooth convex functions, without ever forming the Hessian."""

from collections.abc import Callable

import torch
from torch import Tensor

_ROUNDS, _DIRECTIONS, _HALVINGS = 30, 250, 30
_SUFFICIENT = 1e-4

Point = tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]
"""Value, gradient, and the Hessian as a function of a direction."""


def newton_cg(start: Tensor, at: Callable[[Tensor], Point], tolerance: float) -> Tensor:
    """Minimises by truncated Newton steps (Nocedal & Wright 2006, algorithm 7.1).

    Args:
        start: any shape, float64; near the minimum, where Newton's steps shine.
        at: value, gradient and Hessian at a point.
        tolerance: largest component of the gradient at the end.
    """
    x = start
    value, gradient, hessian = at(x)
    for _ in range(_ROUNDS):
        if float(gradient.abs().max()) <= tolerance:
            break
        step = _conjugate_gradients(gradient, hessian)
        slope, length = float((gradient * step).sum()), 1.0
        for _ in range(_HALVINGS):
            candidate = at(x + length * step)
            if float(candidate[0]) <= float(value) + _SUFFICIENT * length * slope:
                break
            length /= 2
        else:
            break  # rounding is all that is left to gain
        x = x + length * step
        value, gradient, hessian = candidate
    return x


def _conjugate_gradients(gradient: Tensor, hessian: Callable[[Tensor], Tensor]) -> Tensor:
    """Solves H step = -gradient, the more precisely the nearer the minimum."""
    step, rest = torch.zeros_like(gradient), -gradient
    direction, size = rest, float(rest.square().sum())
    enough = min(0.25, size**0.25) ** 2 * size
    for _ in range(_DIRECTIONS):
        turned = hessian(direction)
        bend = float((direction * turned).sum())
        if bend <= 0 or size <= enough:
            break
        step = step + size / bend * direction
        rest = rest - size / bend * turned
        before, size = size, float(rest.square().sum())
        direction = rest + size / before * direction
    return step if bool(step.any()) else -gradient
