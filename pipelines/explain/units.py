"""What layers make of an image, and which units of a layer can be visualised."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from callbacks.interpretability import ActivationMaximisation
from callbacks.interpretability.layers import network_of
from callbacks.interpretability.visualisation.feature_maps import feature_maps, layer_activations
from callbacks.leave_no_trace import leave_no_trace
from callbacks.monitoring import Item
from callbacks.monitoring.layers import watchable
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError
from pipelines.explain.cell import Stage, spent
from pipelines.explain.inputs import Inputs, as_bytes

_WEIGHTED = (nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
ANSWER = ""
"""Name of the whole network as a layer, whose units are the classes."""
NATURAL = 256
"""Test images whose activations a maximised image has to beat."""
_MOST = 256
"""Units that are tried at most: a share of 256 has a half-width of 6 points at the widest."""
_SHOWN = 24
_CHANNELS = 8


@dataclass(frozen=True)
class Units:
    """Channels of one layer, in an order that only the seed decides.

    Args:
        layer: its name.
        channels: `(K,)` those to be tried, the first ones first.
        population: channels of the layer.
        method: how they are maximised.
    """

    layer: str
    channels: Tensor
    population: int
    method: ActivationMaximisation

    @classmethod
    def of(cls, model: Queries, image: Tensor, last: str | None, seed: int) -> "Units":
        """At most 256 channels of the last layer with weights that still has places.

        Args:
            model: asked about the first image.
            image: `(N, C, H, W)`.
            last: the last layer that answers in maps; None takes the classes for units.
            seed: of their order.
        """
        layer = ANSWER if last is None else unit_layer(network_of(model), last)
        count = layer_activations(model, image[:1], layer).shape[1]
        order = Draw(seed, torch.arange(count)).uniform("units", 0, ()).argsort()
        return cls(layer, order[:_MOST], count, ActivationMaximisation(seed=seed))

    @property
    def title(self) -> str:
        """The layer's name, for a reader."""
        return self.layer or "the answer"

    @property
    def untried(self) -> ActivationMaximisation:
        """The control: images of the same kind that were not optimised."""
        return ActivationMaximisation(steps=0, seed=self.method.seed)

    def item(self) -> Item:
        """What one unit costs, its control included."""
        both = (self.method, self.untried)
        cost = sum(method.forwards + 2 * method.backwards for method in both)
        return Item("units", cost, len(self.channels), 0.5)

    def measure(self, model: Queries, natural: Tensor, count: int) -> Stage:
        """Maximises the first `count` units and their controls.

        Args:
            model: asked; natural images are asked about twice.
            natural: `(N, C, H, W)`.
            count: units.

        Returns:
            A stage with `evidence` as every part of the score has it, a line a unit in `units`
            (`channel activation natural beats`), and a picture of each of the first
            `(n, H, W', C)`: the maximised image beside the natural ones that excite it most.
        """
        channels = self.channels[:count].to(natural.device)
        seen = self.method(model, self.layer, natural, channels)
        blank = self.untried(model, self.layer, natural, channels)
        columns = {
            "channel": channels, "activation": seen.activation, "natural": seen.natural,
            "beats": seen.beats,
        }  # fmt: skip
        units = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        evidence = {
            "index": units["channel"], "measured": units["beats"].astype(float),
            "control": blank.beats.double().cpu().numpy(), "ideal": 1.0,
        }  # fmt: skip
        row = torch.cat([seen.image[:_SHOWN, None], natural[seen.top[:_SHOWN]]], 1)
        strips = pad(row, (0, 2), value=1.0).movedim(1, 3).flatten(3)[..., :-2]  # white between
        return Stage(
            {"evidence": pd.DataFrame(evidence), "units": units},
            {"population": self.population, **spent(model)},
            {"units": as_bytes(strips)},
        )


def unit_layer(network: nn.Module, last: str) -> str:
    """The layer with weights that decides what `last` answers.

    Its output still has a gradient where an activation function has none, so that also a silent
    unit can be woken.

    Args:
        network: any.
        last: name of a layer that answers in maps.
    """
    names = [name for name, _ in network.named_modules()]
    upto = set(names[: names.index(last) + 1]) | {
        name for name in names if name.startswith(f"{last}.")
    }
    weighted = [
        name
        for name, part in network.named_modules()
        if name in upto and isinstance(part, _WEIGHTED)
    ]
    return weighted[-1] if weighted else last


def measure_feature_maps(inputs: Inputs, _: Path) -> Stage:
    """The busiest channels of layers from first to last; none of a network without maps.

    Returns:
        A stage with the channels of each layer by name, the image, and maps `(K, h, w)` by layer.
    """
    image, *_rest = inputs.images("test", 1)
    channels, arrays = {}, {"image": as_bytes(image)[0]}
    with leave_no_trace(inputs.classifier):
        for name in watchable(inputs.classifier):
            try:
                maps = feature_maps(Queries(inputs.classifier), image, name)[0]
            except UserError:  # it answers in numbers
                continue
            busiest = maps.mean((1, 2)).argsort(descending=True)[:_CHANNELS]
            channels[name] = busiest.tolist()
            arrays[name] = maps[busiest].cpu().numpy()
    return Stage(facts={"channels": channels}, arrays=arrays)
