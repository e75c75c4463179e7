"""Attention transfer: where in the image the features are large."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor


def attention_map(feature: Tensor) -> Tensor:
    """Channel mean of squares of `(N, C, H, W)`, flattened and of length 1, `(N, H·W)`."""
    return F.normalize(feature.square().mean(1).flatten(1))


def attention_loss(
    student: Tensor, teacher: Tensor, form: Literal["code", "paper"] = "code"
) -> Tensor:
    """Distance of the attention maps of one layer (Zagoruyko & Komodakis 2017, 1612.03928).

    Args:
        student: features `(N, C, H, W)`.
        teacher: features `(N, D, H, W)`; the channels may differ, the places may not.
        form: "code", the mean squared difference over samples and places, whose published weight is
            1000; or "paper", the Euclidean distance, mean over the samples.
    """
    difference = attention_map(student) - attention_map(teacher)
    if form == "paper":
        return difference.norm(dim=1).mean()
    return difference.square().mean()
