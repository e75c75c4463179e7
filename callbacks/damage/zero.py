"""Weights set to zero."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from callbacks.damage.kind import generator
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection


@dataclass(frozen=True)
class Zero:
    """Sets a share of the weights to zero, drawn or largest first.

    Args:
        selection: which weights.
    """

    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "zero"
    title: ClassVar[str] = "Weights set to zero"
    unit: ClassVar[str] = "share of weights"
    severities: ClassVar[tuple[float, ...]] = (0.1, 0.3, 0.5)

    @property
    def drawn(self) -> bool:
        """Whether anything is random."""
        return self.selection.order == "random"

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Zeroes exactly `round(severity * n)` weights; see `Damage`."""
        draw = generator(self.name, severity, seed)
        taken = list(self.selection.share(model, severity, draw))
        values = [(name, where, torch.zeros(len(where))) for name, where in taken]
        return Record.of_values(
            model.state_dict(), values, kind=self.name, severity=severity, seed=seed
        )


@dataclass(frozen=True)
class ZeroLargest(Zero):
    """Sets the weights of largest magnitude to zero."""

    selection: Selection = Selection(order="largest")  # noqa: RUF009  (frozen)
    name: ClassVar[str] = "zero_largest"
    title: ClassVar[str] = "Largest weights set to zero"
    severities: ClassVar[tuple[float, ...]] = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class ZeroEverywhere(Zero):
    """Sets the same share of every parameter tensor to zero, biases and norms included."""

    selection: Selection = Selection(parameters="all", scope="tensor")  # noqa: RUF009
    name: ClassVar[str] = "zero_everywhere"
    title: ClassVar[str] = "Every parameter tensor zeroed"
    unit: ClassVar[str] = "share of each tensor"
