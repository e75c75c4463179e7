"""Weights that change places."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from callbacks.damage.kind import generator
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection


@dataclass(frozen=True)
class Shuffle:
    """Permutes a share of the weights among themselves, layer by layer: the histogram stays.

    Args:
        selection: which weights.
    """

    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "shuffle"
    title: ClassVar[str] = "Weights shuffled"
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
        """Shuffles `round(severity * n)` weights; see `Damage`."""
        draw, state = generator(self.name, severity, seed), model.state_dict()
        values = []
        for name, where in list(self.selection.share(model, severity, draw)):
            order = torch.randperm(len(where), generator=draw)
            values.append(
                (name, where, state[name].take(where.to(state[name].device)).cpu()[order])
            )
        return Record.of_values(state, values, kind=self.name, severity=severity, seed=seed)
