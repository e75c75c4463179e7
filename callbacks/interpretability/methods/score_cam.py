"""Class activation maps without a gradient: which channels, shown alone, the class is seen in."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import scores
from callbacks.interpretability.layers import last_grid_layer
from callbacks.interpretability.visualisation.feature_maps import feature_maps
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class ScoreCAM:
    """Channels of a layer, weighted by the logit of what each lets through (1910.01279, 2020).

    A channel, enlarged bilinearly to the image and scaled to [0, 1], is a mask; the weights are the
    softmax of the masked images' logits, as in the paper's algorithm 1. A flat channel has none.

    Args:
        layer: its name; None takes the last one whose places matter.
        masks: channels asked about, those that vary most over the image; the paper takes all.
    """

    layer: str | None = None
    masks: int = 512

    def __post_init__(self) -> None:
        """Refuses a mean over nothing."""
        at_least(1, masks=self.masks)

    @property
    def forwards(self) -> int:
        """One for each channel and one unmasked; fewer where the layer has fewer."""
        return self.masks + 1

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        maps = feature_maps(model, image, self.layer or last_grid_layer(model, image))
        order = maps.flatten(2).std(2).argsort(dim=1, descending=True, stable=True)
        maps = maps.take_along_dim(order[:, : self.masks, None, None], 1)
        count = maps.shape[1]

        def masked(sample: Tensor, step: Tensor) -> Tensor:
            return image[sample] * unit_range(enlarged(maps[sample, step][:, None], image))

        value = scores(model, image, target, count, masked)
        flat = maps.amax((2, 3)) == maps.amin((2, 3))
        weight = value.masked_fill(flat, -torch.inf).softmax(1).nan_to_num(0.0)
        small = (weight[:, :, None, None] * maps).sum(1, keepdim=True).relu()
        return enlarged(small, image).to(image)


def enlarged(maps: Tensor, image: Tensor) -> Tensor:
    """Maps `(N, K, h, w)` enlarged bilinearly to the size of `(N, C, H, W)`."""
    return F.interpolate(maps, image.shape[-2:], mode="bilinear", align_corners=False)


def unit_range(maps: Tensor) -> Tensor:
    """Each map of `(N, 1, H, W)` shifted and scaled to [0, 1]; a flat one is 0."""
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / torch.where(high > low, high - low, 1.0)
