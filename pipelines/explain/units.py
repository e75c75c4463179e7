"""Which units of a layer can be visualised, and how that looks."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import pad

from callbacks.interpretability import ActivationMaximisation, Visualised
from callbacks.monitoring import Evidence, Item
from callbacks.queries import Queries
from callbacks.randomness import Draw
from pipelines.explain.picture_figures import unit_figure

_WEIGHTED = (nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
ANSWER = ""
"""Name of the whole network as a layer, whose units are the classes."""
NATURAL = 256
"""Test images whose activations a maximised image has to beat."""
_MOST = 256
"""Units that are tried at most: a share of 256 has a half-width of 6 points at the widest."""


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
    def of(cls, layer: str, count: int, seed: int) -> "Units":
        """Takes at most 256 channels of `count`, in random order."""
        draw = Draw(seed, torch.arange(count)).uniform("units", 0, ())
        channels = draw.argsort()[:_MOST]
        return cls(layer, channels, count, ActivationMaximisation(seed=seed))

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
        methods = (self.method, self.untried)
        cost = sum(one.forwards + 2 * one.backwards for one in methods)
        return Item("units", cost, len(self.channels), 0.5)

    def measure(self, model: Queries, natural: Tensor, count: int) -> tuple[Evidence, Visualised]:
        """Maximises the first `count` units and their controls.

        Args:
            model: asked; natural images are asked about twice.
            natural: `(256, C, H, W)`.
            count: units.
        """
        channels = self.channels[:count].to(natural.device)
        seen = self.method(model, self.layer, natural, channels)
        blank = self.untried(model, self.layer, natural, channels)
        beats, control = (one.beats.double().cpu().numpy() for one in (seen, blank))
        return Evidence(beats, control, np.ones(len(beats)), population=self.population), seen

    def figure(self, seen: Visualised, natural: Tensor) -> Figure:
        """The unit sheet: the image of each unit beside its top images, with its verdict."""
        row = torch.cat([seen.image[:, None], natural[seen.top]], 1)
        strips = pad(row, (0, 2), value=1.0).movedim(1, 3).flatten(3)[..., :-2]
        images = strips.movedim(1, -1).cpu().numpy()
        pairs = list(zip(seen.activation.tolist(), seen.natural.tolist(), strict=True))
        channels = self.channels[: len(images)].tolist()
        return unit_figure(self.title, images, channels, pairs, seen.beats.tolist())


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
