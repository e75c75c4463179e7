"""Batch norm with statistics of the images that are asked about."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from callbacks.adaptation.adaptation import StreamBatch, asked
from callbacks.adaptation.norms import (
    batch_norms,
    moments,
    set_statistics,
    shown_to,
    statistics_given_back,
)
from callbacks.queries import Queries
from datamodules.errors import UserError

Statistics = tuple[Tensor, Tensor]
Hook = Callable[[nn.Module, tuple[Tensor, ...], dict[str, Tensor]], None]


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm re-estimated on every batch of test images (Schneider et al. 2020, 2006.16971).

    Every batch norm normalises a batch of n images by the mean N/(N+n) source + n/(N+n) batch, and
    the variance likewise; N = 0 takes those of the batch alone (Nado et al. 2020, 2006.10963).
    Layers are renewed from first to last within one forward, so that each sees what the layers
    before it give then. Variances of a batch are biased, as in training. Nothing is carried from
    one batch to the next, and no weight changes.

    Args:
        prior: N, how many images the statistics of the training count for.
        foreign: take the statistics from other images than those that are asked about: the control
            that shows whether it matters whose statistics they are.
    """

    prior: float = 16.0
    foreign: bool = False
    name: ClassVar[str] = "batch_norm"
    title: ClassVar[str] = "Batch norm re-estimated"

    def __post_init__(self) -> None:
        """Refuses less than no images."""
        if not 0 <= self.prior < float("inf"):
            raise UserError(f"Expected `prior` of at least 0 images, but got {self.prior}.")

    @property
    def forwards(self) -> int:
        """One, and one of the images that foreign statistics come from."""
        return 2 if self.foreign else 1

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def check(self, model: nn.Module) -> str:
        """How many layers; see `Adaptation`."""
        if not (norms := batch_norms(model)):
            raise UserError(
                "The model has no batch norm that keeps statistics: there is nothing to "
                "re-estimate; leave out adaptation_batch_norm."
            )
        return f"statistics of {len(norms)} batch norms"

    def __call__(self, model: Queries, batches: Iterable[StreamBatch]) -> Iterator[Tensor]:
        """See `Adaptation`."""
        network: Any = model.model
        for number, batch in enumerate(batches):
            share = self.prior / (self.prior + len(batch.image))
            with statistics_given_back(batch_norms(network)) as source:
                used: deque[Statistics] = deque()
                called: set[nn.Module] = set()
                with _before_each(source, _estimate(source, share, used, called)):
                    logits = asked(model, batch.reference if self.foreign else batch.image)
                if not number:
                    _check_none_is_missed(model, batch.image, source.keys() - called)
                if self.foreign:
                    with _before_each(source, _replay(used)):
                        logits = asked(model, batch.image)
            yield logits


@contextmanager
def _before_each(norms: Iterable[nn.Module], hook: Hook) -> Iterator[None]:
    """Calls a hook before every call of some layers."""
    hooks = [norm.register_forward_pre_hook(hook, with_kwargs=True) for norm in norms]
    try:
        yield
    finally:
        for registered in hooks:
            registered.remove()


def _estimate(
    source: dict[nn.Module, Statistics],
    share: float,
    used: deque[Statistics],
    called: set[nn.Module],
) -> Hook:
    """Sets a layer's statistics to mixed ones of what is about to come, and keeps them."""

    def before(norm: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        pairs = zip(source[norm], moments(shown_to(given, named)), strict=True)
        mean, variance = ((share * old + (1 - share) * new).to(old.dtype) for old, new in pairs)
        called.add(norm)
        used.append((mean, variance))
        set_statistics(norm, (mean, variance))

    return before


def _replay(used: deque[Statistics]) -> Hook:
    """Sets statistics in the order of the calls in which they were estimated."""

    def before(norm: nn.Module, given: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        set_statistics(norm, used.popleft())

    return before


def _check_none_is_missed(model: Queries, image: Tensor, missed: Set[nn.Module]) -> None:
    """Refuses a network that uses statistics of layers without calling these as modules.

    Layers that it does not use at all, such as those of an auxiliary head, may be missed: other
    statistics of theirs change no answer.
    """
    if not missed:
        return
    before = asked(model, image)
    with statistics_given_back([*missed]) as source:
        for norm, (mean, variance) in source.items():
            set_statistics(norm, (mean + 1, variance + 1))
        same = torch.equal(asked(model, image).nan_to_num(), before.nan_to_num())
    if not same:
        raise UserError(
            f"The model does not call {len(missed)} of its batch norms as modules "
            "(`norm.forward(x)` or its statistics by name): they cannot be re-estimated; leave out "
            "adaptation_batch_norm."
        )
