"""Gaussian noise on weights."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from callbacks.damage.kind import deviation, generator
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection
from datamodules.errors import UserError


@dataclass(frozen=True)
class Noise:
    """Adds normal noise to every weight.

    Args:
        relative_to: "layer": the deviation is severity times the layer's own (else layers are not
            comparable); "weight": times the weight itself (multiplicative noise); "nothing":
            absolute.
        selection: which weights.
    """

    relative_to: Literal["layer", "weight", "nothing"] = "layer"
    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "Gaussian noise on weights"
    unit: ClassVar[str] = "relative deviation"
    severities: ClassVar[tuple[float, ...]] = (0.1, 0.3, 0.5)

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Adds noise of deviation `severity`, >= 0; see `Damage`."""
        if not 0 <= severity < float("inf"):
            raise UserError(f"Expected `severity` of the noise to be >= 0, but got {severity:g}.")
        draw, state = generator(self.name, severity, seed), model.state_dict()
        values = []
        for name in self.selection.names(model):
            weight = state[name].flatten().float().cpu()
            noise = severity * torch.randn(len(weight), generator=draw) * self._scale(weight)
            values.append((name, torch.arange(len(weight)), weight + noise))
        return Record.of_values(state, values, kind=self.name, severity=severity, seed=seed)

    def _scale(self, weight: Tensor) -> Tensor:
        if self.relative_to == "weight":
            return weight
        return deviation(weight) if self.relative_to == "layer" else torch.ones(())
