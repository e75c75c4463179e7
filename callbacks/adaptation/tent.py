"""Entropy minimisation at test time."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from callbacks.adaptation.adaptation import StreamBatch
from callbacks.adaptation.norms import (
    affine_places,
    batch_norms,
    is_frozen,
    moments,
    set_statistics,
    shown_to,
    statistics_given_back,
)
from callbacks.queries import Queries, differentiable
from datamodules.errors import UserError


@dataclass(frozen=True)
class Tent:
    """Scales and shifts that follow the entropy of the answers down (Wang et al. 2021, 2006.10726).

    Batch norm takes the statistics of the batch alone, with the gradient through them; the answers
    to a batch are those that its step was taken on. What a batch leaves is what the next begins
    with; every stream begins with the weights of the source. Unlike the authors' script nothing
    else is in training mode, so that no dropout is. Of layer, group and instance norm, which the
    paper has none of, scales and shifts are adapted in the same way.

    Args:
        lr: learning rate; 0.001 with Adam is published for CIFAR-10-C in batches of 200, 0.00025
            with sgd for ImageNet-C in batches of 64.
        optimizer: "adam" (betas .9 and .999) or "sgd" (momentum .9); neither decays weights.
        steps: on every batch.
    """

    lr: float = 1e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    steps: int = 1
    name: ClassVar[str] = "tent"
    title: ClassVar[str] = "Tent"

    def __post_init__(self) -> None:
        """Refuses what cannot take a step."""
        if not 0 < self.lr < float("inf"):
            raise UserError(f"Expected `lr` to be positive, but got {self.lr}.")
        if self.steps < 1:
            raise UserError(f"Expected `steps` of at least 1, but got {self.steps}.")
        if self.optimizer not in ("adam", "sgd"):
            raise UserError(f"Expected `optimizer` adam or sgd, but got {self.optimizer!r}.")

    @property
    def forwards(self) -> int:
        """One a step."""
        return self.steps

    @property
    def backwards(self) -> int:
        """One a step."""
        return self.steps

    def check(self, model: nn.Module) -> str:
        """How many numbers; see `Adaptation`."""
        places = affine_places(model)
        if not places:
            raise UserError(
                "The model has no normalising layer with scales and shifts: Tent has nothing to "
                "adapt; leave out adaptation_tent."
            )
        numbers = sum(tensor.numel() for tensor in {id(t): t for t in places.values()}.values())
        norms = len({name.rpartition(".")[0] for name in places})
        return f"{numbers:,} scales and shifts of {norms} normalising layers"

    def __call__(self, model: Queries, batches: Iterable[StreamBatch]) -> Iterator[Tensor]:
        """See `Adaptation`."""
        network: Any = model.model
        places = affine_places(network)
        leaves = {id(t): t.detach().clone().requires_grad_() for t in places.values()}
        weights = {name: leaves[id(tensor)] for name, tensor in places.items()}
        optimizer = self._optimizer(list(leaves.values()))
        for batch in batches:
            with of_the_batch(network), torch.enable_grad():
                steps = range(self.steps)
                answers = [self._step(model, weights, optimizer, batch.image) for _ in steps]
            yield answers[-1]

    def _optimizer(self, leaves: list[Tensor]) -> torch.optim.Optimizer:
        if self.optimizer == "adam":
            return torch.optim.Adam(leaves, self.lr)
        return torch.optim.SGD(leaves, self.lr, momentum=0.9)

    def _step(
        self,
        model: Queries,
        weights: dict[str, Tensor],
        optimizer: torch.optim.Optimizer,
        image: Tensor,
    ) -> Tensor:
        """Logits `(n, K)` of before the step, and the step."""
        model.forwards += len(image)
        model.backwards += len(image)
        with model.context(), _of_enough():
            network: Any = model.model
            logits = functional_call(network, weights, (image,), tie_weights=False).float()
        loss = entropy(logits).mean()
        if not loss.requires_grad:
            raise UserError(
                "The model lets no gradient through to its scales and shifts (no_grad or detach "
                "inside): Tent cannot adapt it; leave out adaptation_tent."
            )
        optimizer.zero_grad()
        with differentiable():
            loss.backward()
        optimizer.step()
        return logits.detach()


def entropy(logits: Tensor) -> Tensor:
    """Of the softmax of `(n, K)` logits, `(n,)` in nats.

    >>> entropy(torch.zeros(1, 8)), torch.tensor(8.0).log()
    (tensor([2.0794]), tensor(2.0794))
    """
    return -(logits.softmax(1) * logits.log_softmax(1)).sum(1)


@contextmanager
def _of_enough() -> Iterator[None]:
    """Says in a sentence why batch norm has no statistics.

    Raises:
        UserError: a layer takes them by name, or has but one number for each channel.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if "must be defined in evaluation mode" in str(error):
            raise UserError(
                "The model does not call its batch norms as modules (`norm.forward(x)` or its "
                "statistics by name): Tent cannot adapt it; leave out adaptation_tent."
            ) from error
        if "more than 1 value per channel" in str(error):
            raise UserError(
                "A batch norm of the model has a single number for each channel of one image, of "
                "which there are no statistics: give more images, or another `batch`, so that "
                "none is alone."
            ) from error
        raise


@contextmanager
def of_the_batch(network: nn.Module) -> Iterator[None]:
    """Lets batch norm take means and variances of what comes, with the gradient through them."""
    norms = batch_norms(network)
    with statistics_given_back(norms):
        frozen = [norm for norm in norms if is_frozen(norm)]
        hooks = [norm.register_forward_pre_hook(_renew, with_kwargs=True) for norm in frozen]
        for norm in norms:
            if norm not in frozen:
                set_statistics(norm, (None, None))  # torch's own way to ask for those of the batch
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _renew(norm: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
    set_statistics(norm, moments(shown_to(given, named)))
