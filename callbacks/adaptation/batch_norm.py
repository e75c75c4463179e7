"""Batch norm with statistics of the images that are asked about."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from callbacks.adaptation.adaptation import StreamBatch, asked
from callbacks.adaptation.norms import batch_norms, moments, set_statistics, statistics_given_back
from callbacks.queries import Queries
from datamodules.errors import UserError

Statistics = tuple[Tensor, Tensor]
Hook = Callable[[nn.Module, tuple[Tensor, ...]], None]


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
        for batch in batches:
            share = self.prior / (self.prior + len(batch.image))
            with statistics_given_back(batch_norms(network)) as source:
                used: deque[Statistics] = deque()
                with _before_each(source, _estimate(source, share, used)):
                    logits = asked(model, batch.reference if self.foreign else batch.image)
                if not used:
                    raise UserError(
                        "The model calls none of its batch norms as modules (`norm.forward(x)` or "
                        "its statistics by name): they cannot be re-estimated."
                    )
                if self.foreign:
                    with _before_each(source, _replay(used)):
                        logits = asked(model, batch.image)
            yield logits


@contextmanager
def _before_each(norms: Iterable[nn.Module], hook: Hook) -> Iterator[None]:
    """Calls a hook before every call of some layers."""
    hooks = [norm.register_forward_pre_hook(hook) for norm in norms]
    try:
        yield
    finally:
        for registered in hooks:
            registered.remove()


def _estimate(source: dict[nn.Module, Statistics], share: float, used: deque[Statistics]) -> Hook:
    """Sets a layer's statistics to mixed ones of what is about to come, and keeps them."""

    def before(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        pairs = zip(source[norm], moments(given[0]), strict=True)
        mean, variance = ((share * old + (1 - share) * new).to(old.dtype) for old, new in pairs)
        used.append((mean, variance))
        set_statistics(norm, (mean, variance))

    return before


def _replay(used: deque[Statistics]) -> Hook:
    """Sets statistics in the order of the calls in which they were estimated."""

    def before(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        set_statistics(norm, used.popleft())

    return before
