"""What every loader yields."""

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Images with their labels and their places in the data set.

    Args:
        image: `(N, C, H, W)` float32 in [0, 1]; uint8 only between the worker and the device.
        label: `(N,)` int64 classes.
        index: `(N,)` int64 positions in the split as it is on disk; a limit, an order or a skipped
            file never renumbers them, so rows of two evaluations can be joined.
    """

    image: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks a batch for
