"""How much an explanation can change where the image hardly does."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import Explainer
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class MaxSensitivity:
    """Largest relative change of a map within a small cube round the image (1901.09392, 2019).

    max ‖map(x + d) - map(x)‖ / ‖map(x)‖ over |d| <= radius, as far as it is found. Corners of the
    cube are drawn, because uniform draws stay at 58 % of the truth; then power steps follow the
    change of the map: d = radius·sign of the change along the last change. They need no second
    derivative, which is zero almost everywhere in a ReLU network, and work for every explainer.
    Disturbed images are clipped to [0, 1].

    Args:
        explainer: asked again for every disturbed image.
        radius: in pixel units; Captum's .02 is in the model's own, Yeh et al. take .1 and .2.
        draws: corners.
        steps: power steps; each explains twice.
    """

    explainer: Explainer
    radius: float = 0.02
    draws: int = 4
    steps: int = 2
    higher_is_better: ClassVar[bool | None] = False

    def __post_init__(self) -> None:
        """Refuses a maximum over nothing."""
        at_least(1, draws=self.draws)
        at_least(0, steps=self.steps)

    @property
    def forwards(self) -> int:
        """What the explanations need."""
        return (self.draws + 2 * self.steps) * self.explainer.forwards

    @property
    def backwards(self) -> int:
        """What the explanations need."""
        return (self.draws + 2 * self.steps) * self.explainer.backwards

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""

        def change(delta: Tensor) -> Tensor:
            return self.explainer(model, (image + delta).clamp(0, 1), target, draw) - saliency

        best, largest = torch.zeros_like(saliency), torch.zeros_like(saliency[:, 0, 0, 0])
        for step in range(self.draws):
            corner = draw.uniform("corner", step, tuple(image.shape[1:])).to(image) - 0.5
            best, largest = _larger(best, largest, change(self.radius * _sign(corner)))
        for _ in range(self.steps):
            along = change(self.radius * best / _size(best.abs().flatten(1).amax(1)))
            best, largest = _larger(best, largest, change(self.radius * _sign(along)))
        return largest / saliency.flatten(1).norm(dim=1).where(
            saliency.flatten(1).any(1), torch.nan
        )


def _larger(best: Tensor, largest: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
    """Keeps, for each image, the larger change and its norm."""
    norm = found.flatten(1).norm(dim=1)
    better = norm > largest
    return torch.where(better[:, None, None, None], found, best), norm.maximum(largest)


def _sign(value: Tensor) -> Tensor:
    return torch.where(value < 0, -1.0, 1.0).to(value)


def _size(largest: Tensor) -> Tensor:
    return largest.where(largest > 0, 1.0)[:, None, None, None]
