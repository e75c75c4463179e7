"""Which parameters are damaged."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from datamodules.errors import UserError, suggestion

_WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Selection:
    """The floating-point parameters that damage may hit, and in which order.

    They are what is stored: of a parametrised layer (weight norm, spectral norm, a pruning mask)
    the originals, from which its weight is computed. A parameter with several names counts once.

    Args:
        layers: names of modules, everything below them included; empty for the whole model.
        own: only what the `layers` hold themselves, nothing of modules inside them.
        parameters: "weights" are those of two and more dimensions: of convolutions, linear layers
            and attention, and embeddings; "all" takes biases and norms too.
        scope: "global" draws from all of them together, "tensor" takes the same share of each.
        order: "random", or "largest" magnitudes first.
    """

    layers: tuple[str, ...] = ()
    parameters: Literal["weights", "all"] = "weights"
    scope: Literal["global", "tensor"] = "global"
    order: Literal["random", "largest"] = "random"
    own: bool = False

    def names(self, model: nn.Module) -> list[str]:
        """Returns the names of the tensors, in the model's order.

        Raises:
            UserError: a layer that does not exist, or nothing to damage.
        """
        layers = {checked_layer(model, layer) for layer in self.layers}
        inside = {  # by any of their names
            id(parameter)
            for name, parameter in model.named_parameters(remove_duplicate=False)
            if not layers or self._is_inside(owner_of(name), layers)
        }
        found = [
            name
            for name, parameter in model.named_parameters()
            if id(parameter) in inside and self._takes(parameter)
        ]
        if not found:
            where = f"the layers {', '.join(self.layers)}" if self.layers else "the model"
            what = "weights" if self.parameters == "weights" else "parameters"
            kind = "floating-point " if any(p.is_complex() for p in model.parameters()) else ""
            raise UserError(f"There are no {kind}{what} to damage in {where}.")
        return found

    def reached(self, model: nn.Module) -> tuple[int, int]:
        """Counts the parameters that can be hit, and all: whole numbers and complex ones too."""
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        return sum(sizes[name] for name in self.names(model)), sum(sizes.values())

    def told(self, model: nn.Module) -> str:
        """Says how much of a model can be hit, where that is not nearly all of it."""
        hit, total = self.reached(model)
        beyond = sum(part.numel() for part in model.parameters() if part.is_complex())
        if hit >= 0.99 * total and not beyond:
            return ""
        said = f"{hit:,} of {total:,} parameters can be hit ({hit / total:.1%})."
        return f"{said} {beyond:,} are complex, which no damage hits." if beyond else said

    def share(
        self, model: nn.Module, share: float, generator: torch.Generator
    ) -> Iterator[tuple[str, Tensor]]:
        """Yields names and positions of exactly `round(share * n)` elements, without repetition."""
        checked_share(share)
        names = self.names(model)
        tensors = {name: model.get_parameter(name).detach() for name in names}
        groups = [[name] for name in names] if self.scope == "tensor" else [names]
        for group in groups:
            sizes = [tensors[name].numel() for name in group]
            count = round(share * sum(sizes))
            if self.order == "largest":
                size = torch.cat([tensors[name].abs().flatten().float().cpu() for name in group])
                taken = size.topk(count).indices.sort().values
            else:
                taken = distinct(sum(sizes), count, generator)
            yield from split(group, sizes, taken)

    def _is_inside(self, owner: str, layers: set[str]) -> bool:
        below = tuple(f"{layer}." for layer in layers)
        return owner in layers or (not self.own and owner.startswith(below))

    def _takes(self, parameter: nn.Parameter) -> bool:
        return parameter.is_floating_point() and (self.parameters == "all" or parameter.ndim > 1)


EVERYWHERE = Selection()


def checked_share(share: float, name: str = "severity") -> float:
    """Returns a share of weights.

    Raises:
        UserError: not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise UserError(f"Expected `{name}` to be a share in [0, 1], but got {share:g}.")
    return share


def checked_layer(model: nn.Module, layer: str) -> str:
    """Returns the name of a module; those of a classifier's network may leave `model.` out.

    Raises:
        UserError: there is none; a close name is suggested.
    """
    known = dict(model.named_modules(remove_duplicate=False))
    for name in (layer, f"model.{layer}"):
        if name in known and name:
            return name
    names = [name.removeprefix("model.") for name in known if name and name != "model"]
    raise UserError(f"The model has no layer {layer!r}.{suggestion(layer, names)}")


def layers_of(model: nn.Module) -> list[str]:
    """Names of the convolutions and linear layers, in the model's order."""
    return [name for name, part in model.named_modules() if isinstance(part, _WEIGHTED)]


def owner_of(parameter: str) -> str:
    """Name of the module of a parameter; originals of a parametrised layer are that layer's."""
    return (
        parameter.partition(".parametrizations.")[0]
        if ".parametrizations." in parameter
        else (parameter.rpartition(".")[0])
    )


def distinct(population: int, count: int, generator: torch.Generator) -> Tensor:
    """Draws numbers below `population` without repetition, ascending; never lists them all.

    Args:
        population: how many there are, below 2^53.
        count: how many are drawn.
        generator: on the CPU.

    Returns:
        `(count,)` int64. Every subset of that size is equally likely: draws are added until
        enough are distinct, then a random part of them is kept.
    """
    if not 0 <= count <= population:
        raise UserError(f"Expected at most {population:,} distinct elements, but got {count:,}.")
    if count * 3 > population:
        return torch.randperm(population, generator=generator)[:count].sort().values
    found = torch.empty(0, dtype=torch.int64)
    while len(found) < count:
        more = torch.randint(population, (count - len(found) + 16,), generator=generator)
        found = torch.cat([found, more]).unique()
    if len(found) > count:
        found = found[torch.randperm(len(found), generator=generator)[:count]].sort().values
    return found


def split(names: list[str], sizes: list[int], taken: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yields each tensor's part of ascending positions in all of them laid end to end."""
    ends = torch.tensor(sizes).cumsum(0)
    bounds = torch.searchsorted(taken, ends)
    start = first = 0
    for name, end, bound in zip(names, ends.tolist(), bounds.tolist(), strict=True):
        if bound > first:
            yield name, taken[first:bound] - start
        start, first = end, bound
