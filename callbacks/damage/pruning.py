"""Connections removed by masks; shapes stay."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from callbacks.damage.kind import generator
from callbacks.damage.record import Record
from callbacks.damage.selection import Selection, layers_of, owner_of, split
from datamodules.errors import UserError


@dataclass(frozen=True)
class Pruned:
    """Removed connections, exact in both directions.

    Args:
        keep: by parameter; bool masks of its shape, True where kept. For `WeightMasks`.
        record: of the weights that were set to zero.
    """

    keep: dict[str, Tensor]
    record: Record

    def __len__(self) -> int:
        """How many connections are removed."""
        return sum(int((~mask).sum()) for mask in self.keep.values())

    @property
    def facts(self) -> dict[str, Any]:
        """Kind, severity, seed and options; plain values."""
        return self.record.facts

    def apply(self, model: nn.Module) -> nn.Module:
        """Sets the removed connections to zero in place."""
        return self.record.apply(model)

    def undo(self, model: nn.Module) -> nn.Module:
        """Gives them their weights back, bit for bit."""
        return self.record.undo(model)


@dataclass(frozen=True)
class Prune:
    """Removes exactly `round(rate * n)` connections (weights of two and more dimensions).

    Magnitude, over the whole network or layer by layer, as in Han et al. (1506.02626, 2015).

    Args:
        criterion: "magnitude" removes the smallest, or "random".
        scope: "global" ranks all layers together, "layer" takes the rate of each.
        structured: whole rows of convolutions and linear layers, one an output channel, by mean
            magnitude; the last layer keeps its classes. Biases and norms stay, so a constant leaks
            through: `RemoveChannels` is exact.
        layers: names of modules; empty for the whole model.
    """

    criterion: Literal["magnitude", "random"] = "magnitude"
    scope: Literal["global", "layer"] = "global"
    structured: bool = False
    layers: tuple[str, ...] = ()
    name: ClassVar[str] = "prune"
    title: ClassVar[str] = "Connections removed"
    unit: ClassVar[str] = "share of weights"
    severities: ClassVar[tuple[float, ...]] = (0.5, 0.8, 0.95)

    @property
    def drawn(self) -> bool:
        """Whether anything is random."""
        return self.criterion == "random"

    def __post_init__(self) -> None:
        """Refuses criteria and scopes that are none."""
        for name, known in (("criterion", ("magnitude", "random")), ("scope", ("global", "layer"))):
            if (got := getattr(self, name)) not in known:
                raise UserError(f"Expected `{name}` to be {' or '.join(known)}, but got {got!r}.")

    def __call__(
        self,
        model: nn.Module,
        severity: float,
        seed: int = 0,
        image: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Pruned:
        """Chooses the connections; the model is left as it is. See `Damage`.

        Raises:
            UserError: a rate outside [0, 1], or a layer that does not exist.
        """
        if not 0 <= severity <= 1:
            raise UserError(f"Expected `severity` to be a rate in [0, 1], but got {severity:g}.")
        names = Selection(layers=self.layers).names(model)
        if self.structured:
            names = [name for name in names if owner_of(name) in layers_of(model)[:-1]]
        weights = {name: model.get_parameter(name).detach().cpu() for name in names}
        keep = self.masks(weights, severity, generator(self.name, severity, seed))
        state = model.state_dict()
        gone = {name: (~mask).flatten().nonzero()[:, 0] for name, mask in keep.items()}
        zeros = [(name, where, torch.zeros(len(where))) for name, where in gone.items()]
        facts = {
            "kind": self.name, "severity": severity, "seed": seed, "criterion": self.criterion,
            "scope": self.scope, "structured": self.structured, "layers": ",".join(self.layers),
        }  # fmt: skip
        return Pruned(keep, Record.of_values(state, zeros, **facts))

    def masks(
        self, weights: dict[str, Tensor], rate: float, draw: torch.Generator
    ) -> dict[str, Tensor]:
        """Returns bool masks, True where kept.

        Args:
            weights: by name, on the CPU.
            rate: share of them, or of their rows, to remove.
            draw: for the criterion "random".
        """
        scores = {name: self._score(weight, draw) for name, weight in weights.items()}
        groups: Iterable[list[str]] = (
            [[n] for n in scores] if self.scope == "layer" else [[*scores]]
        )
        keep = {name: torch.ones(len(score), dtype=torch.bool) for name, score in scores.items()}
        for group in groups:
            score = torch.cat([scores[name] for name in group])
            lowest = score.argsort(stable=True)[: round(rate * len(score))].sort().values
            for name, where in split(group, [len(scores[name]) for name in group], lowest):
                keep[name][where] = False
        return {name: _shaped(keep[name], weight) for name, weight in weights.items()}

    def _score(self, weight: Tensor, draw: torch.Generator) -> Tensor:
        """What decides, lowest first: `(n,)` for elements, `(rows,)` if structured."""
        if self.criterion == "random":
            return torch.rand(len(weight) if self.structured else weight.numel(), generator=draw)
        size = weight.abs().float()
        return size.flatten(1).mean(1) if self.structured else size.flatten()


@dataclass(frozen=True)
class PruneRandom(Prune):
    """Removes exactly `round(rate * n)` connections at random: what pruning is compared with."""

    criterion: Literal["magnitude", "random"] = "random"
    name: ClassVar[str] = "prune_random"
    title: ClassVar[str] = "Random connections removed"


def _shaped(kept: Tensor, weight: Tensor) -> Tensor:
    if kept.numel() == weight.numel():
        return kept.view(weight.shape)
    return kept.view(-1, *[1] * (weight.ndim - 1)).expand(weight.shape).clone()
