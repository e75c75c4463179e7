"""The gradient of a class's logit by the pixels."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from callbacks.interpretability.explainer import target_logit
from callbacks.queries import Queries
from callbacks.randomness import Draw

Channels = Literal["max", "sum", "signed"]


@dataclass(frozen=True)
class Gradient:
    """Size of the gradient of the class's logit by each pixel (Simonyan et al. 2013, 1312.6034).

    Args:
        channels: one map of several channels: the largest absolute value, the sum of absolute
            values, or the signed sum (then it is the derivative by the brightness of the pixel).
    """

    channels: Channels = "max"
    forwards: int = field(default=1, init=False, repr=False)
    backwards: int = field(default=1, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        _, _, gradient = model.gradient(image, target_logit, target)
        return one_channel(gradient, self.channels)


@dataclass(frozen=True)
class InputXGradient:
    """Pixel times gradient, summed over channels (Shrikumar et al. 2016, 1605.01713).

    Complete only for piecewise linear networks without bias; the zero is a black pixel.
    """

    forwards: int = field(default=1, init=False, repr=False)
    backwards: int = field(default=1, init=False, repr=False)

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        _, _, gradient = model.gradient(image, target_logit, target)
        return (image * gradient).sum(1, keepdim=True)


def one_channel(gradient: Tensor, channels: Channels) -> Tensor:
    """Makes one map `(N, 1, H, W)` of `(N, C, H, W)`; see `Gradient`."""
    if channels == "max":
        return gradient.abs().amax(1, keepdim=True)
    return (gradient if channels == "signed" else gradient.abs()).sum(1, keepdim=True)
