"""Frost on a window."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.corruption.constants import Constants
from callbacks.corruption.corruption import graded, tint
from callbacks.randomness import Draw

# Mean and deviation of red, green and blue of the five photographs that the published sets draw
# from, measured; the second and third are alike.
_PALE = ((0.787, 0.805, 0.841), (0.084, 0.087, 0.089))
_PHOTOGRAPHS = (
    ((0.305, 0.585, 0.650), (0.106, 0.065, 0.060)),
    _PALE,
    _PALE,
    ((0.540, 0.599, 0.648), (0.112, 0.112, 0.117)),
    ((0.441, 0.484, 0.528), (0.174, 0.170, 0.163)),
)
# Deviation in units of that of the whole photographs, and the share of its variance that is one
# between crops. For small images the photographs are made small: crops are larger parts of them.
_WHOLE, _SMALL, _SMALL_SIDE = (1.0, 0.1), (0.8, 0.35), 120
_SLOPE = 1.8
"""Of the photographs' power over frequency, 1.5 to 2.0; on a fifth of the size 1.6 to 2.9."""


@dataclass(frozen=True)
class Frost:
    """Frost on a window before the scene.

    The texture is generated: noise with the colours, deviation and spectrum of the photographs that
    the published sets use, not their crystals. Numbers are not those of the published sets.
    """

    name: ClassVar[str] = "frost"
    title: ClassVar[str] = "Frost"
    constants: ClassVar[Constants] = Constants(
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    )

    @graded
    def __call__(
        self, image: Tensor, draw: Draw, image_weight: float, frost_weight: float
    ) -> Tensor:
        """Adds a weighted texture to the weighted image; see `Corruption`."""
        size = tuple(image.shape[-2:])
        deviation, between = _SMALL if min(size) < _SMALL_SIDE else _WHOLE
        field = deviation * fractal_noise(draw.normal(self.name, 0, size), _SLOPE, between)
        texture = _coloured(field[:, None], draw, image.shape[1])
        return image_weight * image + frost_weight * texture.clamp(0, 1)


def fractal_noise(noise: Tensor, slope: float, between: float) -> Tensor:
    """Shapes white noise to a power spectrum 1 / frequency^slope of variance 1.

    Args:
        noise: `(N, H, W)` standard normal.
        slope: of the power, in cycles a pixel.
        between: share of the variance that is one of the means of images.
    """
    height, width = noise.shape[-2:]
    rows = torch.fft.fftfreq(height, device=noise.device)[:, None]
    frequency = torch.hypot(rows, torch.fft.fftfreq(width, device=noise.device))
    power = frequency.clamp_min(1e-9) ** -slope
    power[0, 0] = 0
    inner = power.sum().clamp_min(1e-9)  # one pixel has no frequencies
    power = power * (1 - between) / inner
    power[0, 0] = between
    amplitude = (power * height * width).sqrt()[:, : width // 2 + 1]
    return torch.fft.irfft2(torch.fft.rfft2(noise) * amplitude, s=(height, width))


def _coloured(field: Tensor, draw: Draw, channels: int) -> Tensor:
    """Gives every sample's field `(N, 1, H, W)` the colours of one of the photographs."""
    which = (len(_PHOTOGRAPHS) * draw.uniform("frost photograph", 0, ())).long()
    means = torch.cat([tint(mean, channels, field) for mean, _ in _PHOTOGRAPHS])
    spreads = torch.cat([tint(spread, channels, field) for _, spread in _PHOTOGRAPHS])
    return means[which] + spreads[which] * field
