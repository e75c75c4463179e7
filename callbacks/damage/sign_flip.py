"""Weights that change their sign."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from callbacks.damage.kind import generator
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection


@dataclass(frozen=True)
class SignFlip:
    """Negates a share of the weights.

    Args:
        selection: which weights.
    """

    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "sign_flip"
    title: ClassVar[str] = "Signs flipped"
    unit: ClassVar[str] = "share of weights"
    severities: ClassVar[tuple[float, ...]] = (0.05, 0.1, 0.3)

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
        """Negates exactly `round(severity * n)` weights; see `Damage`."""
        draw, state = generator(self.name, severity, seed), model.state_dict()
        values = [
            (name, where, -state[name].take(where.to(state[name].device)).cpu())
            for name, where in self.selection.share(model, severity, draw)
        ]
        return Record.of_values(state, values, kind=self.name, severity=severity, seed=seed)
