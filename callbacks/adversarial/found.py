"""What an attack has found so far: of each image the first adversarial iterate, else the worst."""

from typing import Literal

import torch
from torch import Tensor

from callbacks.adversarial.attack import AttackResult, Objective

Spent = Literal["steps", "forwards", "backwards"]
"""What a query took: a forward and a backward, a forward, or one more backward."""


class Found:
    """Keeps, sample by sample, the iterate that an attack returns.

    Any iterate counts, not only the last: an attack that passes an adversarial point and leaves it
    again has still found it ("silent success", Pintor et al. 2022, 2106.09947). Nothing here makes
    the host wait for a GPU.

    Args:
        image: `(N, C, H, W)` originals; returned where nothing else was seen.
        objective: with "loss" the iterate of highest loss is kept beside the adversarial one.
    """

    def __init__(self, image: Tensor, objective: Objective) -> None:
        n = len(image)
        self.objective = objective
        self.image = image.clone()
        self.worst = image.clone() if objective == "loss" else self.image
        self.loss = torch.full((n,), -torch.inf, device=image.device)
        self.broken = torch.zeros(n, dtype=torch.bool, device=image.device)
        self.steps = torch.zeros(n, dtype=torch.long, device=image.device)
        self.forwards = torch.zeros_like(self.steps)
        self.backwards = torch.zeros_like(self.steps)

    def wanted(self, rows: Tensor) -> Tensor:
        """Which of `rows` are still worth a query, `(n,)` bool."""
        broken = self.broken[rows]
        return ~broken if self.objective == "verdict" else torch.ones_like(broken)

    def pay(self, rows: Tensor, spent: Spent, times: int = 1) -> None:
        """Counts queries of the samples `rows` that are still worth one."""
        getattr(self, spent)[rows] += times * self.wanted(rows).long()

    def see(
        self,
        rows: Tensor,
        iterate: Tensor,
        loss: Tensor,
        broken: Tensor,
        spent: Spent,
        times: int = 1,
    ) -> None:
        """Takes note of one iterate of the samples `rows`.

        Args:
            rows: `(n,)` positions.
            iterate: `(n, C, H, W)` admissible images.
            loss: `(n,)` to be maximised.
            broken: `(n,)` whether the iterate is adversarial.
            spent: "steps" where a gradient was taken there, "forwards" for logits only.
            times: queries that it took.
        """
        self.pay(rows, spent, times)
        before, highest = self.broken[rows], self.loss[rows]
        higher = loss > highest  # False for NaN
        _keep(self.image, rows, iterate, ~before & (broken | higher))
        if self.objective == "loss":
            _keep(self.worst, rows, iterate, higher)
        self.loss[rows] = torch.where(higher, loss, highest)
        self.broken[rows] = before | broken

    def result(self) -> AttackResult:
        """What the attack returns."""
        return AttackResult(self.image, self.worst, self.steps, self.forwards, self.backwards)


def _keep(where: Tensor, rows: Tensor, iterate: Tensor, mask: Tensor) -> None:
    """Writes the masked iterates; by mask, because indices would make the host wait for a GPU."""
    mask = mask[:, None, None, None]
    if len(rows) == len(where):  # all of them, in order: nothing to look up
        torch.where(mask, iterate, where, out=where)
    else:
        where[rows] = torch.where(mask, iterate, where[rows])
