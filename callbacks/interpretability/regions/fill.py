"""What takes the place of pixels that are removed."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from callbacks.randomness import Draw
from datamodules.errors import UserError, suggestion

FillName = Literal["black", "mean", "blur", "noise"]


def black(image: Tensor, draw: Draw) -> Tensor:
    """All zeros, `(N, C, H, W)`."""
    return torch.zeros_like(image)


def mean(image: Tensor, draw: Draw) -> Tensor:
    """Each image's own mean colour; RISE fills with the mean of the training data instead."""
    return image.mean((2, 3), keepdim=True).expand_as(image)


def blur(image: Tensor, draw: Draw) -> Tensor:
    """Blurred by a Gaussian kernel of 11 pixels with sigma 5, as RISE does (1806.07421, 2018)."""
    side = min(*image.shape[-2:], 11)  # the border is mirrored, so a kernel must fit in
    return gaussian_blur(image, [side - 1 + side % 2] * 2, [5.0, 5.0])


def noise(image: Tensor, draw: Draw) -> Tensor:
    """Uniform noise in [0, 1), each sample's own."""
    return draw.uniform("fill", 0, tuple(image.shape[1:])).to(image)


FILLS: dict[str, Callable[[Tensor, Draw], Tensor]] = {
    "black": black,
    "mean": mean,
    "blur": blur,
    "noise": noise,
}


def filled(name: str, image: Tensor, draw: Draw) -> Tensor:
    """Makes `(N, C, H, W)` to put in the place of removed pixels.

    Raises:
        UserError: there is no such fill.
    """
    if name not in FILLS:
        raise UserError(f"There is no fill {name!r}.{suggestion(name, FILLS)}")
    return FILLS[name](image, draw)
