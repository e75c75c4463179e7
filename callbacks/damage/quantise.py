"""Weights rounded to few bits: compression seen as damage."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from callbacks.damage.formats import Format
from callbacks.damage.record import Record
from callbacks.damage.selection import EVERYWHERE, Selection
from datamodules.errors import UserError


@dataclass(frozen=True)
class Quantise:
    """Rounds weights to symmetric integers of as many bits as the severity says, one step a layer.

    Args:
        selection: which weights.
    """

    selection: Selection = EVERYWHERE
    name: ClassVar[str] = "quantise"
    title: ClassVar[str] = "Weights quantised"
    unit: ClassVar[str] = "bits left"
    severities: ClassVar[tuple[float, ...]] = (8, 4, 3)
    drawn: ClassVar[bool] = False

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Record:
        """Rounds to `severity` bits, 2 to 8; nothing is drawn; see `Damage`."""
        if not float(severity).is_integer() or not 2 <= severity <= 8:
            raise UserError(f"Expected `severity` to be 2 to 8 bits, but got {severity:g}.")
        kind, state = Format(f"int{severity:.0f}", int(severity)), model.state_dict()
        after = {}
        for name in self.selection.names(model):
            step = kind.step(state[name])
            after[name] = kind.decode(kind.encode(state[name], step), step).to(state[name].dtype)
        return Record.between(state, after, {"kind": self.name, "severity": severity, "seed": seed})
