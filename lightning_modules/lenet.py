"""LeNet."""

from collections import OrderedDict
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SIDE = 28


class LeNet(nn.Sequential):
    """LeNet-5 with ReLU and max pooling (LeCun et al. 1998).

    It has 44,426 parameters for 28x28 grey images and ten classes, and with `width=4` 696,074.
    Images of other sizes are resized to 28x28 inside, so that attacks act on the pixels there are.
    Every activation is a module of its own, so that hooks and attribution methods find it.

    Args:
        classes: outputs.
        channels: 1 or 3.
        dropout: probability before the last layer.
        width: factor of all hidden channels and units.
    """

    def __init__(
        self, classes: int = 10, channels: int = 1, dropout: float = 0.0, width: int = 1
    ) -> None:
        layers = {
            "conv1": nn.Conv2d(channels, 6 * width, 5),
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(6 * width, 16 * width, 5),
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(),
            "fc1": nn.Linear(256 * width, 120 * width),
            "relu3": nn.ReLU(),
            "fc2": nn.Linear(120 * width, 84 * width),
            "relu4": nn.ReLU(),
            "dropout": nn.Dropout(dropout),
            "fc3": nn.Linear(84 * width, classes),
        }
        super().__init__(OrderedDict(layers))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (named so by nn.Sequential)
        """From `(N, C, H, W)` to logits `(N, K)`."""
        return super().forward(_resized(input))


def _resized(image: Tensor) -> Tensor:
    """Resizes `(N, C, H, W)` bilinearly.

    By two matrices, because the gradient of `interpolate` is not deterministic on a GPU.
    """
    height, width = image.shape[-2:]
    if (height, width) == (_SIDE, _SIDE):
        return image
    rows, columns = (_weights(size, image.device, image.dtype) for size in (height, width))
    return rows @ image @ columns.T


@lru_cache(maxsize=8)
def _weights(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The `(28, size)` weights of an antialiased bilinear resize of one axis."""
    with torch.inference_mode(False), torch.no_grad():
        identity = torch.eye(size, dtype=torch.float32, device="cpu")[None, None]
        weights = F.interpolate(identity, (_SIDE, size), mode="bilinear", antialias=True)[0, 0]
        return weights.to(device, dtype)
