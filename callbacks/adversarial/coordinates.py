"""Where the pixels of an image lie in a frame that is turned and shifted against it."""

import torch
from torch import Tensor


def turned_back(image: Tensor, angle: Tensor, right: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Places of all pixels in a frame of each image's own, in pixels from the frame's centre.

    Args:
        image: `(N, C, H, W)`, of which only size, type and device matter.
        angle: `(N,)` degrees by which the frame is turned clockwise.
        right: `(N,)` pixels by which its centre lies to the right of that of the image.
        down: `(N,)` the same.

    Returns:
        To the right and down in the frame, `(N, H, W)` each.
    """
    radians = angle.double().deg2rad()  # float32 angles would move the pixels of large images
    cos, sin = (_beside(part.to(image.dtype)) for part in (radians.cos(), radians.sin()))
    x = _centred(image.shape[3], image)[None, None, :] - _beside(right)
    y = _centred(image.shape[2], image)[None, :, None] - _beside(down)
    return cos * x + sin * y, cos * y - sin * x


def _beside(number: Tensor) -> Tensor:
    """`(N,)` -> `(N, 1, 1)`."""
    return number[:, None, None]


def _centred(size: int, like: Tensor) -> Tensor:
    """Positions of pixels from the centre, `(size,)`."""
    return torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2
