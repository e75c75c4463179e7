"""Residual adapters: a 1x1 convolution beside every larger one."""

import torch
from torch import Tensor, nn

from lightning_modules.weight_updates import WeightUpdate


class ParallelAdapter(WeightUpdate):
    """f * x + a * x, a being 1x1 (Rebuffi, Bilen & Vedaldi 2018, 1803.10082).

    Both are linear, so that the adapter is a part of the kernel: its middle. It starts at zero, so
    that training starts from the network as it is, to which weight decay pulls it back.

    Args:
        kernel: `(O, I, k, k)` with odd k, frozen.
    """

    def __init__(self, kernel: Tensor) -> None:
        super().__init__()
        self.middle = nn.Parameter(torch.zeros_like(kernel[:, :, :1, :1]))
        self._size = kernel.shape[2:]

    def change(self) -> Tensor:
        """`(O, I, k, k)`, zero but for the middle."""
        high, wide = (side // 2 for side in self._size)
        return nn.functional.pad(self.middle, (wide, wide, high, high))


def adapts(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that is larger than an adapter, and has a middle."""
    return (
        isinstance(layer, nn.Conv2d)
        and max(layer.kernel_size) > 1
        and all(side % 2 == 1 for side in layer.kernel_size)
    )
