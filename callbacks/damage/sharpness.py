"""How steeply the loss rises round the weights that a model has."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Loss = Callable[[Mapping[str, Tensor]], Tensor]
"""Of a model as a function of its weights by name."""


@torch.no_grad()
def sharpness(
    loss: Loss, weights: Mapping[str, Tensor], relative: float = 0.1, draws: int = 4, seed: int = 0
) -> float:
    """Mean rise of the loss when every weight is moved by noise as large as its tensor's share.

    Expected sharpness (Neyshabur et al. 2017, 1706.08947) with noise relative to the weights
    (Jiang et al. 2019, 1912.02178), which rescaled layers do not change. Noise comes in pairs of
    opposite signs, so that the slope cancels and curvature is left: with H the Hessian and r_i the
    root mean square of the tensor of weight i, about `relative`^2 / 2 * sum_i r_i^2 H_ii.

    Args:
        loss: asked 2 * `draws` + 1 times.
        weights: floating-point tensors of any shape.
        relative: standard deviation of the noise, in units of a tensor's root mean square.
        draws: pairs.
        seed: of the noise.

    Returns:
        In units of the loss; below 0 on a hill; infinite or NaN where the loss is no number.

    Example:
        `sharpness(lambda w: (w["w"] ** 2).sum() / 2, {"w": torch.ones(1000)})` is about
        0.1^2 / 2 * 1000 = 5.
    """
    draw, rise = torch.Generator().manual_seed(seed), 0.0
    middle = float(loss(weights))
    for _ in range(draws):
        noise = {name: _noise(weight, relative, draw) for name, weight in weights.items()}
        for sign in (1, -1):
            moved = {name: weight + sign * noise[name] for name, weight in weights.items()}
            rise += float(loss(moved)) - middle
    return rise / (2 * draws)


def _noise(weight: Tensor, relative: float, draw: torch.Generator) -> Tensor:
    size = relative * weight.detach().double().square().mean().sqrt()
    drawn = torch.randn(weight.shape, generator=draw).to(weight.device)
    return (size * drawn).to(weight.dtype)
