"""A layer and a unit of the user's choice: what they make of own images, and what excites them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from callbacks.interpretability import ActivationMaximisation
from callbacks.interpretability.layers import network_of
from callbacks.interpretability.visualisation.feature_maps import feature_maps, layer_activations
from callbacks.queries import Queries
from datamodules.errors import UserError, suggestion
from lightning_modules import Classifier
from pipelines.explain.inputs import as_bytes

_SHOWN = 8
_PREFIX = "model."
"""Of the user's own network inside the classifier."""


class LayerMaps(NamedTuple):
    """What a layer answers to one image.

    Args:
        layer: its name in the user's network.
        channels: `(K,)` numbers of the busiest ones, or of the one that was asked for.
        maps: `(K', h, w)` of all channels, or of the one.
    """

    layer: str
    channels: list[int]
    maps: np.ndarray


class MaximisedUnit(NamedTuple):
    """An image that excites a unit.

    Args:
        layer: its name in the user's network.
        unit: number of the channel.
        image: `(H, W, C)` uint8.
        activation: of it, mean over movements.
        own: largest activation of the user's images.
    """

    layer: str
    unit: int
    image: np.ndarray
    activation: float
    own: float


def layer_name(layer: str | None, unit: int | None, classifier: Classifier) -> str | None:
    """The full name of a layer of the classifier, by that in the user's own network or by itself.

    Raises:
        UserError: there is no such layer, or a unit without a layer.
    """
    if layer is None:
        if unit is not None:
            raise UserError(
                "Expected `layer` beside `unit`: say which layer the unit is of, such as --layer "
                "layer4."
            )
        return None
    names = {name: name for name, _ in classifier.named_modules(remove_duplicate=False) if name}
    names |= {name.removeprefix(_PREFIX): name for name in names if name.startswith(_PREFIX)}
    if layer not in names:
        raise UserError(f"The model has no layer {layer!r}.{suggestion(layer, names)}")
    return names[layer]


def check_unit(model: Queries, image: Tensor, layer: str, unit: int | None) -> None:
    """Refuses a unit that a layer does not have.

    Raises:
        UserError: says how many it has.
    """
    count = layer_activations(model, image[:1], layer).shape[1]
    if unit is not None and not 0 <= unit < count:
        raise UserError(
            f"Expected `unit` between 0 and {count - 1}, those of {own_name(layer)!r}, but got "
            f"{unit}."
        )


def maps_of_layer(model: Queries, image: Tensor, layer: str, unit: int | None) -> LayerMaps:
    """The maps of all channels of a layer, or of one, for an image `(1, C, H, W)`.

    Raises:
        UserError: it does not answer in maps.
    """
    maps = feature_maps(model, image, layer)[0]
    if unit is not None:
        return LayerMaps(own_name(layer), [unit], maps[unit : unit + 1].cpu().numpy())
    busiest = maps.mean((1, 2)).argsort(descending=True)[:_SHOWN].tolist()
    return LayerMaps(own_name(layer), busiest, maps.cpu().numpy())


def maximised_unit(
    model: Queries, images: Sequence[Tensor], layer: str, unit: int, seed: int
) -> MaximisedUnit:
    """Maximises a unit from noise, in the size of the first image.

    Args:
        model: asked.
        images: `(1, C, H, W)` each, the user's own; those of the first one's size are compared.
        layer: full name.
        unit: channel.
        seed: of the noise.
    """
    natural = torch.cat([image for image in images if image.shape == images[0].shape])
    channel = torch.tensor([unit], device=natural.device)
    method = ActivationMaximisation(seed=seed)
    seen = method(Queries(network_of(model), 1, model.context), layer, natural, channel)
    return MaximisedUnit(
        own_name(layer), unit, as_bytes(seen.image)[0], float(seen.activation), float(seen.best)
    )


def own_name(layer: str) -> str:
    """A layer's name in the user's own network."""
    return layer.removeprefix(_PREFIX)
