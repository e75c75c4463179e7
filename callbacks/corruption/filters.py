"""Linear filters of any size that are fast for few channels: by matrices and by Fourier transform.

A depth-wise `conv2d` of one channel is slow on a CPU; two matrix products, or three transforms,
are not, and their cost does not grow with the reach of the filter.
"""

import torch
from torch import Tensor

from callbacks.corruption.borders import Border, extended, inside


def gaussian_blurred(
    image: Tensor, sigma: float, border: Border = "nearest", truncate: float = 4.0
) -> Tensor:
    """Convolves `(N, C, H, W)` with a Gaussian, as `scipy.ndimage.gaussian_filter` does.

    Args:
        image: any values.
        sigma: of the Gaussian in pixels, >= 0.
        border: what lies beyond the border.
        truncate: deviations after which the Gaussian ends.
    """
    radius = int(truncate * sigma + 0.5)
    offset = torch.arange(-radius, radius + 1, device=image.device, dtype=torch.float64)
    weight = torch.exp(-0.5 * (offset / max(sigma, 1e-9)) ** 2)
    return separable(image, weight / weight.sum(), border)


def separable(image: Tensor, weight: Tensor, border: Border) -> Tensor:
    """Correlates rows and columns of `(N, C, H, W)` with the same odd number of weights."""
    if len(weight) == 1:
        return image * weight.to(image)
    height, width = image.shape[-2:]
    return across(image, *(_matrix(size, weight, border).to(image) for size in (height, width)))


def across(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiplies every image plane by `rows` from the left and `columns` transposed from the right.

    Args:
        image: `(N, C, H, W)`.
        rows: `(H', H)`.
        columns: `(W', W)`.

    Returns:
        `(N, C, H', W')`. Each plane is a product of its own, so that it does not depend on how many
        others there are.
    """
    planes = image.flatten(0, 1)
    n = len(planes)
    turned = torch.bmm(planes, columns.T.expand(n, -1, -1))
    return torch.bmm(rows.expand(n, -1, -1), turned).unflatten(0, image.shape[:2])


def correlated(image: Tensor, kernel: Tensor, border: Border) -> Tensor:
    """Correlates `(N, C, H, W)` with square kernels `(N or 1, 2r + 1, 2r + 1)`."""
    height, width = image.shape[-2:]
    padded = extended(image, kernel.shape[-1] // 2, border)
    size = padded.shape[-2:]
    response = torch.fft.rfft2(kernel, s=size).conj()[:, None]
    return torch.fft.irfft2(torch.fft.rfft2(padded) * response, s=size)[..., :height, :width]


def stencil(image: Tensor, weights: tuple[tuple[float, ...], ...], border: Border) -> Tensor:
    """Correlates `(N, C, H, W)` with a few weights, such as 3 x 3 whole numbers, term by term."""
    height, width = image.shape[-2:]
    padded = extended(image, len(weights) // 2, border)
    terms = [
        weight * padded[..., row : row + height, column : column + width]
        for row, line in enumerate(weights)
        for column, weight in enumerate(line)
        if weight
    ]
    return torch.stack(terms).sum(0)


def _matrix(size: int, weight: Tensor, border: Border) -> Tensor:
    """`(size, size)` of a correlation along one axis; in float64, so that order does not matter."""
    reach = len(weight) // 2
    here = torch.arange(size, device=weight.device)[:, None]
    there = inside(here + torch.arange(-reach, reach + 1, device=weight.device), size, border)
    return weight.new_zeros(size, size).scatter_add_(1, there, weight.expand(size, -1))
