"""A moving average of the weights."""

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from datamodules.errors import UserError


def weight_average(decay: float = 0.999) -> WeightAveraging:
    """Makes Lightning's callback that validates, saves and ends with averaged weights.

    Lightning's own `EMAWeightAveraging` computes `decay * a + (1 - decay) * b`, which changes
    weights that are equal by rounding and truncates integer buffers; so a frozen backbone would
    not stay bit-equal. This one interpolates and copies integers. The decay grows with the steps,
    `min(decay, (1 + t) / (10 + t))`, so that short trainings are not dominated by the start.

    Args:
        decay: share of the average that is kept in each step, in (0, 1).

    Raises:
        UserError: the decay is outside (0, 1).
    """
    if not 0 < decay < 1:
        raise UserError(f"Expected the `ema` decay in (0, 1), but got {decay}.")

    def average(kept: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        if not kept.is_floating_point():
            return current
        t = float(steps)
        return torch.lerp(kept, current, 1 - min(decay, (1 + t) / (10 + t)))

    return WeightAveraging(avg_fn=average)
