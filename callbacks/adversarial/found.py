"""What an attack has found so far: of each image the first adversarial iterate, else the worst."""

import torch
from torch import Tensor

from callbacks.adversarial.attack import AttackResult, Objective


class Found:
    """Keeps, sample by sample, the iterate that an attack returns.

    Args:
        image: `(N, C, H, W)` originals; returned where nothing else was seen.
        objective: with "loss" the iterate of highest loss is kept beside the adversarial one.
    """

    def __init__(self, image: Tensor, objective: Objective) -> None:
        n = len(image)
        self.objective = objective
        self.image = image.clone()
        self.worst = image.clone() if objective == "loss" else self.image
        self.loss = image.new_full((n,), -torch.inf)
        self.broken = torch.zeros(n, dtype=torch.bool, device=image.device)
        self.steps = torch.zeros(n, dtype=torch.long, device=image.device)
        self.forwards = torch.zeros_like(self.steps)

    def see(self, rows: Tensor, iterate: Tensor, loss: Tensor, broken: Tensor) -> None:
        """Takes note of one iterate of the samples `rows`.

        Args:
            rows: `(n,)` positions.
            iterate: `(n, C, H, W)` admissible images.
            loss: `(n,)` to be maximised.
            broken: `(n,)` whether the iterate is adversarial.
        """
        higher = loss > self.loss[rows]
        before = self.broken[rows]
        self._keep(self.image, rows, iterate, ~before & (broken | higher))
        if self.objective == "loss":
            self._keep(self.worst, rows, iterate, higher)
        self.loss[rows] = loss.maximum(self.loss[rows])
        self.broken[rows] = before | broken

    def result(self) -> AttackResult:
        """What the attack returns."""
        return AttackResult(self.image, self.worst, self.steps, self.forwards)

    @staticmethod
    def _keep(where: Tensor, rows: Tensor, iterate: Tensor, mask: Tensor) -> None:
        where[rows[mask]] = iterate[mask]


def adversarial(logits: Tensor, label: Tensor, target: Tensor | None) -> Tensor:
    """`(N,)` bool: not the label is predicted, or with a target: the target is."""
    prediction = logits.argmax(1)
    return prediction != label if target is None else prediction == target
