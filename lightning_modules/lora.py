"""Low-rank adaptation: what a fine-tuning changes of a weight, as a product of two thin ones."""

import math

import torch
from torch import Tensor, nn

from lightning_modules.weight_updates import WeightUpdate


class LowRank(WeightUpdate):
    """W + alpha / rank · B A (Hu et al. 2021, 2106.09685).

    B starts at zero, so that training starts from the network as it is. A kernel `(O, I, k, k)`
    counts as a matrix `(O, I k k)`: a convolution by A, and a 1x1 convolution by B. An attention's
    three projections in one weight have one A and three B.

    Args:
        weight: `(O, ...)`, frozen.
        rank: of the product; at most that of the weight.
        alpha: divided by the rank that was asked for, so that layers are scaled alike.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        self.scale, thin = alpha / rank, min(rank, rows, columns)
        options = {"device": weight.device, "dtype": weight.dtype}
        self.down = nn.Parameter(torch.empty(thin, columns, **options))
        self.up = nn.Parameter(torch.zeros(rows, thin, **options))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def change(self) -> Tensor:
        """`(O, I)`, of no higher rank than asked for."""
        return self.scale * (self.up @ self.down)
