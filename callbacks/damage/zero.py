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
        return Record.of_values(model.state_dict(), values, kind=self.name, severity=severity)
