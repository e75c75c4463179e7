"""Light before and after a camera writes it as sRGB: what lamps and sensors do is linear in it."""

import torch
from torch import Tensor

from callbacks.randomness import Draw


def linear(image: Tensor) -> Tensor:
    """Amounts of light in [0, 1] of sRGB values in [0, 1] (IEC 61966-2-1, 1999)."""
    return torch.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def encoded(light: Tensor) -> Tensor:
    """The sRGB values of amounts of light, which are cut to [0, 1]: a sensor overflows."""
    light = light.clamp(0, 1)
    # below the knee the power is not taken: its slope at 0 is infinite, its value of no use
    bright = 1.055 * light.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, 12.92 * light, bright)


def either_way(draw: Draw, purpose: str) -> Tensor:
    """-1 or 1 for every sample, equally likely, as `(N, 1, 1, 1)`."""
    return torch.where(draw.uniform(f"{purpose} way", 0, (1, 1, 1)) < 0.5, -1.0, 1.0)
