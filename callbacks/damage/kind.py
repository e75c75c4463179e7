"""What every damage of parameters is: a frozen dataclass that turns a model into a record."""

import hashlib
from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from callbacks.damage.record import Record

_COUNTS = ("flipped bits", "bits left", "blocks", "classes")
"""Units that are whole numbers."""


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


def is_drawn(damage: object) -> bool:
    """Whether another seed gives another damage; rounding and "largest first" draw nothing."""
    return bool(getattr(damage, "drawn", True))


def steps(severities: Sequence[float], unit: str) -> list[int]:
    """Severities as the whole numbers of a chart's axis in MLflow.

    Counts are steps as they are, everything else is per mille; where that is not whole, a step is
    the position in the grid.

    Args:
        severities: all of one damage, in its order.
        unit: of them.
    """
    scaled = [severity * (1 if unit in _COUNTS else 1000) for severity in severities]
    if all(abs(value - round(value)) < 1e-9 for value in scaled):
        return [round(value) for value in scaled]
    return [position + 1 for position, _ in enumerate(severities)]


def deviation(weight: Tensor) -> Tensor:
    """Standard deviation of a tensor's numbers; a single one has none and gives its own size."""
    flat = weight.detach().float()
    return flat.std() if flat.numel() > 1 else flat.abs().mean()


def generator(purpose: str, severity: float, seed: int) -> torch.Generator:
    """A generator of its own for every purpose, severity and seed; the global one is not touched.

    Args:
        purpose: what is drawn.
        severity: of the damage.
        seed: of the draw.
    """
    digest = hashlib.sha256(f"{purpose} {float(severity)!r} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
