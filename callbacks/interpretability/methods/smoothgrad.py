"""The gradient, averaged over noisy copies of the image."""

from dataclasses import dataclass

from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import mean_gradient
from callbacks.interpretability.methods.gradient import Channels, one_channel
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class SmoothGrad:
    """Mean gradient over normal noise (Smilkov et al. 2017, 1706.03825), its size per pixel.

    Captum's NoiseTunnel takes 5 copies with sigma 1 in whatever units the model has.

    Args:
        draws: noisy copies; the paper takes 50.
        noise: its standard deviation as a share of each image's max - min; the paper: 0.1 to 0.2.
        channels: see `Gradient`.
    """

    draws: int = 25
    noise: float = 0.15
    channels: Channels = "max"

    def __post_init__(self) -> None:
        """Refuses a mean over nothing."""
        at_least(1, draws=self.draws)

    @property
    def forwards(self) -> int:
        """One for each copy."""
        return self.draws

    @property
    def backwards(self) -> int:
        """One for each copy."""
        return self.draws

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        flat = image.flatten(1)
        sigma = (self.noise * (flat.amax(1) - flat.amin(1)))[:, None, None, None]

        def noisy(sample: Tensor, step: Tensor) -> Tensor:
            normal = draw.select(sample).normal("smoothgrad", step, tuple(image.shape[1:]))
            return image[sample] + sigma[sample] * normal

        gradient = mean_gradient(model, image, target, self.draws, noisy)
        return one_channel(gradient, self.channels)
