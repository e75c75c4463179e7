"""Images made of waves, so that an optimiser moves large shapes as easily as single pixels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.randomness import Draw

_COLOUR = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Root of the colours' correlation on ImageNet (Lucid)."""


def fourier_start(draw: Draw, channels: int, height: int, width: int) -> Tensor:
    """Coefficients to begin with, normal with deviation 0.01: `(N, C, H, W // 2 + 1, 2)`."""
    return 0.01 * draw.normal("fourier", 0, (channels, height, width // 2 + 1, 2))


def fourier_image(coefficient: Tensor, width: int, decay: float = 1.0) -> Tensor:
    """Turns coefficients into images (Olah et al. 2017; Lucid's constants).

    Args:
        coefficient: `(N, C, H, W // 2 + 1, 2)` real and imaginary parts.
        width: W.
        decay: exponent with which high frequencies are held back.

    Returns:
        `(N, C, H, W)` in (0, 1); three channels have the colours' natural correlation.
    """
    height = coefficient.shape[2]
    down = torch.fft.fftfreq(height, device=coefficient.device)[:, None]
    across = torch.fft.rfftfreq(width, device=coefficient.device)
    frequency = (down.square() + across.square()).sqrt().clamp(min=1 / max(height, width))
    scale = frequency.pow(-decay)[..., None]
    wave = torch.view_as_complex((coefficient * scale).contiguous())
    flat = torch.fft.irfft2(wave, (height, width), norm="ortho") / 4
    return decorrelated(flat).sigmoid()


def decorrelated(flat: Tensor) -> Tensor:
    """Gives three channels `(N, 3, H, W)` the correlation of natural colours."""
    if flat.shape[1] != 3:
        return flat
    root = torch.tensor(_COLOUR, device=flat.device)
    root = root / root.norm(dim=0).max()
    return torch.einsum("nchw,dc->ndhw", flat, root)


def moved(
    image: Tensor, draw: Draw, step: int, jitter: float, scale: float, angle: float
) -> Tensor:
    """Shifts, enlarges and turns every image at random; what comes in from outside is grey.

    Args:
        image: `(N, C, H, W)`.
        draw: of the images.
        step: which random movement.
        jitter: largest shift, as a share of the side.
        scale: largest change of size, as a share.
        angle: largest turn, in degrees.

    Returns:
        `(N, C, H, W)`.
    """
    dice = draw.uniform("movement", step, (4,)) * 2 - 1
    turn, size = dice[:, 0] * math.radians(angle), 1 / (1 + scale * dice[:, 1])
    shift = 2 * jitter * dice[:, 2:]  # grid_sample counts from -1 to 1
    first = torch.stack([size * turn.cos(), -size * turn.sin(), shift[:, 0]], 1)
    second = torch.stack([size * turn.sin(), size * turn.cos(), shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([first, second], 1), list(image.shape), align_corners=False)
    return F.grid_sample(image - 0.5, grid, align_corners=False) + 0.5
