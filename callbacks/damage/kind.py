"""What every damage of parameters is: a frozen dataclass that turns a model into a record."""

import hashlib
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from callbacks.damage.record import Record


@runtime_checkable
class Damage(Protocol):
    """Damages parameters; hyper-parameters in the constructor, the model in the call."""

    name: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    """Of the severity."""
    severities: ClassVar[tuple[float, ...]]
    """Usual ones, mild to severe."""

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Returns the record of a damage; the model is left as it is.

        Args:
            model: undamaged.
            severity: in `unit`.
            seed: of the draw; equal seeds give equal damage.
            image: `(N, C, H, W)` for damage that is aimed.
            label: `(N,)`.
        """
        ...


def generator(purpose: str, severity: float, seed: int) -> torch.Generator:
    """A generator of its own for every purpose, severity and seed; the global one is not touched.

    Args:
        purpose: what is drawn.
        severity: of the damage.
        seed: of the draw.
    """
    digest = hashlib.sha256(f"{purpose} {float(severity)!r} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
