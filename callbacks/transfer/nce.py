"""NCE: what is left unknown of the label when the source model's verdict is known."""

import torch
from torch import Tensor

from callbacks.transfer.labels import compact


def nce(source: Tensor, label: Tensor) -> float:
    """Negative conditional entropy of the label given the source class.

    Tran, Nguyen & Hassner 2019 (1908.08142).

    Args:
        source: `(N,)` class that the source model answers.
        label: `(N,)` target class.

    Returns:
        Nats, <= 0; 0 where every source class means one label.
    """
    label = compact(label)
    _, source = torch.unique(source, return_inverse=True)
    shape = int(label.max()) + 1, int(source.max()) + 1
    counts = torch.bincount(label * shape[1] + source, minlength=shape[0] * shape[1])
    joint = counts.view(shape).double() / len(label)
    return float(torch.xlogy(joint, joint / joint.sum(0)).nansum())
