"""Maps that explain nothing, to be measured beside every explanation."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.interpretability.explainer import Explainer
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class RandomMap:
    """Uniform numbers in [0, 1): a control, which knows neither image nor model.

    Any change of the image, however small, replaces all of them. A map drawn once for each sample
    would not change at all, hence pass for perfectly stable.
    """

    forwards: int = field(default=0, init=False, repr=False)
    backwards: int = field(default=0, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        return draw.uniform("random map", content(image), (1, *image.shape[2:])).to(image)


def content(image: Tensor) -> Tensor:
    """A number `(N,)` int64 for each image, which any change of it replaces: a step for a draw."""
    place = torch.arange(image[0].numel(), device=image.device)
    weight = (place.double() * 0.6180339887498949).frac().reshape(image.shape[1:])
    return ((image.double() * (1 + weight)).sum((1, 2, 3)) * 1e6).long() & 0x7FFFFFFF


@dataclass(frozen=True)
class EdgeFilter:
    """Sobel edges of the image: a control, which knows the image but no model (1810.03292)."""

    forwards: int = field(default=0, init=False, repr=False)
    backwards: int = field(default=0, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        return sobel(image)


@dataclass(frozen=True)
class Inverse:
    """Another explainer's map with the sign turned: a control, which must do worse.

    Args:
        explainer: the other one.
    """

    explainer: Explainer

    @property
    def forwards(self) -> int:
        """The other one's."""
        return self.explainer.forwards

    @property
    def backwards(self) -> int:
        """The other one's."""
        return self.explainer.backwards

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        return -self.explainer(model, image, target, draw)


def sobel(image: Tensor) -> Tensor:
    """Size of the brightness's Sobel gradient `(N, 1, H, W)`; borders are repeated."""
    grey = F.pad(image.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    # By slices, not by a convolution: the same to the last bit for every number of images.
    smooth = grey[:, :, :-2] + 2 * grey[:, :, 1:-1] + grey[:, :, 2:]
    across = smooth[:, :, :, 2:] - smooth[:, :, :, :-2]
    smooth = grey[:, :, :, :-2] + 2 * grey[:, :, :, 1:-1] + grey[:, :, :, 2:]
    down = smooth[:, :, 2:] - smooth[:, :, :-2]
    return (across.square() + down.square()).sqrt()
