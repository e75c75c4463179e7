"""Augmentation of a batch on the device, with random numbers for each sample."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def random_crop(image: Tensor, generator: Generator, padding: int = 4) -> Tensor:
    """Pads with zeros and cuts the original size out at a random place, sample by sample.

    torchvision's transforms draw one place for the whole batch; one gather does it per sample.

    Args:
        image: `(N, C, H, W)`.
        generator: on the device of the images.
        padding: pixels on each side.
    """
    n, channels, height, width = image.shape
    device = image.device
    padded = F.pad(image, [padding] * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, n), generator=generator, device=device)
    rows = top[:, None] + torch.arange(height, device=device)
    columns = left[:, None] + torch.arange(width, device=device)
    sample = torch.arange(n, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return padded[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]


def random_flip(image: Tensor, generator: Generator) -> Tensor:
    """Mirrors each of `(N, C, H, W)` images left to right with probability 1/2."""
    flipped = torch.rand(len(image), generator=generator, device=image.device) < 0.5
    return torch.where(flipped[:, None, None, None], image.flip(3), image)


def crop_flip(image: Tensor, generator: Generator) -> Tensor:
    """The usual CIFAR augmentation: crop with padding 4, then flip."""
    return random_flip(random_crop(image, generator), generator)


AUGMENTATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "none": lambda image, _: image,
    "crop": random_crop,
    "crop_flip": crop_flip,
}
