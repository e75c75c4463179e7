"""Weights redrawn at random."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from callbacks.damage.kind import deviation, generator
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection


@dataclass(frozen=True)
class Randomise:
    """Redraws a share of the weights from a normal distribution of their layer's own deviation.

    Re-randomisation, not re-initialisation: the values before training are not needed, and another
    outcome is to be expected of them (Zhang, Bengio, Singer, 1902.01996, 2022).

    Args:
        selection: which weights.
    """

    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "randomise"
    title: ClassVar[str] = "Weights redrawn"
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
        """Redraws exactly `round(severity * n)` weights; see `Damage`."""
        draw, state = generator(self.name, severity, seed), model.state_dict()
        values = []
        for name, where in list(self.selection.share(model, severity, draw)):
            drawn = torch.randn(len(where), generator=draw)
            values.append((name, where, drawn * deviation(state[name]).cpu()))
        return Record.of_values(state, values, kind=self.name, severity=severity, seed=seed)
