"""The images that excite a unit most, in one pass over the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.interpretability.visualisation.feature_maps import layer_activations
from callbacks.queries import Queries


@dataclass
class TopImages:
    """Keeps, for each channel of a layer, the images of largest activation.

    Args:
        layer: its name.
        count: images kept.
    """

    layer: str
    count: int = 9
    activation: Tensor | None = None
    """`(K, count)`, in descending order."""
    index: Tensor | None = None
    """`(K, count)` positions in the data set; of equal activations the one seen first is kept."""

    def update(self, model: Queries, image: Tensor, index: Tensor) -> None:
        """Looks at further images.

        Args:
            model: its module is asked once for every image.
            image: `(N, C, H, W)`.
            index: `(N,)` their positions in the data set.
        """
        value = layer_activations(model, image, self.layer).T
        place = index.expand_as(value)
        if self.activation is not None and self.index is not None:
            value, place = torch.cat([self.activation, value], 1), torch.cat([self.index, place], 1)
        order = value.argsort(dim=1, descending=True, stable=True)[:, : self.count]
        self.activation, self.index = value.gather(1, order), place.gather(1, order)
