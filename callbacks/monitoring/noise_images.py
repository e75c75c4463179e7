"""Images that no data set holds, to try outlier scores and monitors on."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Made = Callable[[Tensor, torch.Generator], Tensor]
"""From images `(N, C, H, W)` in [0, 1], of which shape or content is used, to others alike."""


def uniform_noise(image: Tensor, generator: torch.Generator) -> Tensor:
    """Every pixel and channel on its own, uniform in [0, 1]."""
    return torch.rand(image.shape, generator=generator).to(image.device)


def smooth_noise(image: Tensor, generator: torch.Generator) -> Tensor:
    """Blobs: noise of 4 x 4 cells, enlarged; spread over [0, 1]."""
    cells = torch.rand(*image.shape[:2], 4, 4, generator=generator)
    made = F.interpolate(cells, image.shape[-2:], mode="bicubic", align_corners=False)
    low, high = made.amin((2, 3), keepdim=True), made.amax((2, 3), keepdim=True)
    return ((made - low) / (high - low)).to(image.device)


def shuffled_pixels(image: Tensor, generator: torch.Generator) -> Tensor:
    """The same pixels in one random order for all: colours stay, shapes go."""
    order = torch.randperm(image[0, 0].numel(), generator=generator).to(image.device)
    return image.flatten(2)[:, :, order].reshape(image.shape)


NOISE: dict[str, Made] = {
    "uniform noise": uniform_noise,
    "smooth noise": smooth_noise,
    "shuffled pixels": shuffled_pixels,
}
"""Outliers that are always at hand."""


def grainy(image: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of standard deviation 0.1, as of a worse sensor."""
    noise = torch.randn(image.shape, generator=generator).to(image.device)
    return (image + 0.1 * noise).clamp(0, 1)


def darker(image: Tensor, generator: torch.Generator) -> Tensor:
    """Seven tenths of the light."""
    return 0.7 * image


SHIFTS: dict[str, Made] = {"grainy": grainy, "darker": darker}
"""Gradual changes that a monitor should tell."""
