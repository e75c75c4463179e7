"""What every adaptation at test time is: unlabelled batches in, answers out, in their order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from callbacks.queries import Queries


class StreamBatch(NamedTuple):
    """Images that are asked about together.

    Args:
        image: `(n, C, H, W)` float32 in [0, 1].
        reference: `(n, C, H, W)` what statistics are taken from: the images themselves, or others
            for a control.
    """

    image: Tensor
    reference: Tensor


@runtime_checkable
class Adaptation(Protocol):
    """A way to let a trained network adapt to unlabelled images while it answers them.

    Answers depend on the images that are answered together, and on those before them.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @property
    def forwards(self) -> int:
        """Of every image."""
        ...

    @property
    def backwards(self) -> int:
        """Of every image."""
        ...

    def check(self, model: nn.Module) -> str:
        """Says what of a network it adapts.

        Raises:
            UserError: there is nothing that it could.
        """
        ...

    def __call__(self, model: Queries, batches: Iterable[StreamBatch]) -> Iterator[Tensor]:
        """Answers float32 logits `(n, K)` to every batch, from the weights of the source on.

        Args:
            model: in evaluation mode; it is as it was when the last answer is taken.
            batches: of one stream, in order.
        """
        ...


@dataclass(frozen=True)
class Unadapted:
    """The network as it is, on the same images in the same batches."""

    name: ClassVar[str] = "none"
    title: ClassVar[str] = "Not adapted"

    @property
    def forwards(self) -> int:
        """One."""
        return 1

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def check(self, model: nn.Module) -> str:
        """Nothing; see `Adaptation`."""
        return "nothing"

    def __call__(self, model: Queries, batches: Iterable[StreamBatch]) -> Iterator[Tensor]:
        """See `Adaptation`."""
        for batch in batches:
            yield asked(model, batch.image)


def is_foreign(adaptation: Adaptation) -> bool:
    """Whether it takes statistics from other images than those it answers."""
    return bool(getattr(adaptation, "foreign", False))


@torch.no_grad()
def asked(model: Queries, image: Tensor) -> Tensor:
    """Float32 logits `(n, K)` of a batch that is neither cut nor padded."""
    model.forwards += len(image)
    with model.context():
        return model.model(image).float()
