"""What attacks maximise: losses per sample, never averaged over a batch.

With a target every loss grows as the target becomes likelier. Notation: z logits, y label, t
target, pi_1, pi_2, ... the classes from the largest logit down.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from datamodules.errors import UserError

LossName = Literal["ce", "margin", "dlr"]
Loss = Callable[..., Tensor]
"""`(logits (N, K), label (N,)) -> (N,)`; the targeted ones take `target (N,)` as well."""

_TINY = 1e-12  # of Croce & Hein 2020: keeps DLR finite where the three largest logits are equal


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """-log softmax(z)_y; its float32 gradient vanishes beyond a margin of about 17."""
    return F.cross_entropy(logits, label, reduction="none")


def margin(logits: Tensor, label: Tensor) -> Tensor:
    """max_{i != y} z_i - z_y, positive once misclassified (Carlini & Wagner 2017, 1608.04644)."""
    return _largest_other(logits, label) - _of(logits, label)


def dlr(logits: Tensor, label: Tensor) -> Tensor:
    """Difference of logits ratio, unchanged by scale and offset (Croce & Hein 2020, 2003.01690).

    The margin divided by z_pi1 - z_pi3. Two classes have no third: there it is the margin.
    """
    if logits.shape[1] < 3:
        return margin(logits, label)
    largest = logits.topk(3).values
    return margin(logits, label) / (largest[:, 0] - largest[:, 2] + _TINY)


def targeted_cross_entropy(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """Log softmax(z)_t, whatever the label."""
    return -F.cross_entropy(logits, target, reduction="none")


def targeted_margin(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """z_t - max_{i != t} z_i, positive once the target is predicted."""
    return -margin(logits, target)


def logit_difference(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """z_t - z_y, 0 on the boundary between the two classes."""
    return _of(logits, target) - _of(logits, label)


def targeted_dlr(logits: Tensor, label: Tensor, target: Tensor) -> Tensor:
    """(z_t - z_y) / (z_pi1 - (z_pi3 + z_pi4)/2) (Croce & Hein 2020, 2003.01690, equation 7).

    Fewer than four classes have no fourth: there it is z_t - z_y.
    """
    difference = logit_difference(logits, label, target)
    if logits.shape[1] < 4:
        return difference
    largest = logits.topk(4).values
    return difference / (largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2 + _TINY)


LOSSES: dict[LossName, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr}
TARGETED_LOSSES: dict[LossName, Loss] = {
    "ce": targeted_cross_entropy,
    "margin": targeted_margin,
    "dlr": targeted_dlr,
}


def chosen_loss(name: LossName, target: Tensor | None) -> Loss:
    """Looks a loss up, in its targeted form where there is a target."""
    if name not in LOSSES:
        raise UserError(f"Expected `loss` to be one of {', '.join(LOSSES)}, but got {name!r}.")
    return LOSSES[name] if target is None else TARGETED_LOSSES[name]


def likeliest_others(logits: Tensor, label: Tensor, count: int) -> Tensor:
    """Returns the classes that are likeliest after the label, `(N, min(count, K - 1))`.

    >>> likeliest_others(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0]), 9)
    tensor([[2, 1]])
    """
    others = logits.nan_to_num(0.0).scatter(1, label[:, None], -float("inf"))
    ranked = torch.argsort(others, dim=1, descending=True, stable=True)
    return ranked[:, : min(count, logits.shape[1] - 1)]


def _of(logits: Tensor, index: Tensor) -> Tensor:
    """The logit of one class for each sample, `(N,)`."""
    return logits.gather(1, index[:, None]).squeeze(1)


def _largest_other(logits: Tensor, index: Tensor) -> Tensor:
    """The largest logit of any other class, `(N,)`."""
    is_index = F.one_hot(index, logits.shape[1]).bool()
    return logits.masked_fill(is_index, -float("inf")).amax(1)
