"""Expectation over transformation: answers and gradients averaged over a model's own randomness."""

import torch
from torch import Tensor

from callbacks.queries import Loss, Model, Queries
from datamodules.errors import UserError


class Averaged(Queries):
    """Asks a model that answers at random several times, and answers the mean of that.

    Expectation over transformation (Athalye et al. 2018, 1707.07397): the gradient is the mean of
    the gradients of the draws, as in AutoAttack `rand`; logits and losses are means as well. Where
    the gradient of least rank is looked for, it is that of the mean logits, so that all draws are
    differentiated for the same class; their graphs are held in memory together.

    Args:
        asked: the model; it is there that calls are counted.
        times: draws, at least 1.
    """

    def __init__(self, asked: Queries, times: int) -> None:
        super().__init__(asked.model, asked.chunk, asked.context)
        self.asked, self.times = asked, times

    def __call__(self, image: Tensor) -> Tensor:
        """Answers mean logits `(N, K)`, without a gradient."""
        return mean([self.asked(image) for _ in range(self.times)])

    def gradient(
        self, image: Tensor, loss: Loss, *per_sample: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Means of logits, losses and gradients; see `Queries.gradient`."""
        draws = [self.asked.gradient(image, loss, *per_sample) for _ in range(self.times)]
        logits, losses, gradients = (mean(part) for part in zip(*draws, strict=True))
        return logits, losses, gradients

    def least_gradient(
        self, image: Tensor, losses: Loss, rank: Loss, *per_sample: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of the mean logits; see `Queries.least_gradient`."""
        asked = self.asked
        forwards, backwards = asked.forwards, asked.backwards
        with asked.answered_by(_mean_of(asked.model, self.times)):
            found = asked.least_gradient(image, losses, rank, *per_sample)
        asked.forwards += (self.times - 1) * (asked.forwards - forwards)
        asked.backwards += (self.times - 1) * (asked.backwards - backwards)
        return found


def check_eot(eot: int, gradients: int, title: str, keeps_budget: bool = False) -> None:
    """Refuses to average what cannot be, or is already.

    Args:
        eot: draws.
        gradients: of the attack; 0 follows none.
        title: of the attack.
        keeps_budget: whether its name stands for what it spends.

    Raises:
        UserError: fewer than 1, or an attack that averages no gradients.
    """
    if eot < 1:
        raise UserError(f"Expected `eot` of at least 1, but got {eot}.")
    if eot > 1 and keeps_budget:
        raise UserError(f"{title} averages in its version rand only: take autoattack_rand.")
    if eot > 1 and not gradients:
        raise UserError(f"{title} follows no gradient that `eot` could average: leave it out.")


def said_of_draws(title: str, deterministic: bool, eot: int) -> str:
    """What must be said of a model that answers at random, or of averaging for none; else ""."""
    if deterministic:
        in_vain = f" {title}: the model answers alike every time: {eot} draws are as good as one."
        return in_vain if eot > 1 else ""
    if eot > 1:
        return (
            f" {title}: the model answers at random; every gradient is the mean of {eot} draws. "
            "The judge asks once, and rows are not the same in every run."
        )
    return (
        f" {title}: the model answers at random, which this attack does not average out, and its "
        "rows are not the same in every run: see autoattack_rand, or average by `--eot 20`."
    )


def mean(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    """The mean of tensors of one shape; of one it is that one."""
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).mean(0)


def _mean_of(model: Model, times: int) -> Model:
    return lambda image: mean([model(image) for _ in range(times)])
