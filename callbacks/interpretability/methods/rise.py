"""Which pixels were visible when the class did well: randomised input sampling."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import pairs, target_probability
from callbacks.interpretability.sampling_error import Estimated
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Rise:
    """Mean of random soft masks weighted by the class's softmax (RISE, 1806.07421, 2018).

    Every image has masks of its own, and hidden pixels are black.

    Args:
        draws: masks; the paper takes 4,000 to 8,000.
        cells: random cells along each side.
        visible: probability that a cell is.
    """

    draws: int = 500
    cells: int = 7
    visible: float = 0.5

    def __post_init__(self) -> None:
        """Refuses a mean over no masks."""
        at_least(1, draws=self.draws, cells=self.cells)

    @property
    def forwards(self) -> int:
        """One for each mask."""
        return self.draws

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        return self.estimated(model, image, target, draw).map

    def estimated(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Estimated:
        """The map with the standard error of each pixel's mean over the masks."""
        moments = [torch.zeros_like(image[:, :1]) for _ in range(2)]
        levels = [image.new_zeros(len(image)) for _ in range(2)]
        for sample, step in pairs(model, image, self.draws):
            mask = self._masks(image, draw.select(sample), step).to(image)
            value = target_probability(model(image[sample] * mask), target[sample])
            seen = (mask * value[:, None, None, None] / self.visible).to(image)
            for power in range(2):
                moments[power].index_add_(0, sample, seen ** (power + 1))
                levels[power].index_add_(0, sample, seen.mean((1, 2, 3)) ** (power + 1))
        mean, variance = self._of_the_mean(*moments)
        return Estimated(mean, variance.sqrt(), self._of_the_mean(*levels)[1])

    def _of_the_mean(self, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        """A mean over the masks, and its variance; not a number of a single mask."""
        mean = total / self.draws
        spread = (squares / self.draws - mean.square()).clamp(min=0)
        return mean, spread / (self.draws - 1) if self.draws > 1 else spread * torch.nan

    def _masks(self, image: Tensor, draw: Draw, step: Tensor) -> Tensor:
        """Random cells, enlarged bilinearly and shifted by up to one: `(n, 1, H, W)`."""
        on = draw.uniform("rise cells", step, (self.cells, self.cells)) < self.visible
        shift = draw.uniform("rise shift", step, (2,))
        down, across = (
            enlarging(self.cells, side, shift[:, axis])
            for axis, side in enumerate(image.shape[-2:])
        )
        return (down @ on.float() @ across.mT)[:, None]


def enlarging(cells: int, side: int, shift: Tensor) -> Tensor:
    """Weights that enlarge `cells` bilinearly to as many larger ones and one more, then crop.

    Args:
        cells: along a side.
        side: pixels of the image.
        shift: `(n,)` in [0, 1), the crop's first pixel, in enlarged cells.

    Returns:
        `(n, side, cells)`; rows add up to 1.
    """
    cell = -(-side // cells)
    pixel = (shift * cell).floor()[:, None] + torch.arange(side, device=shift.device)
    place = ((pixel + 0.5) * cells / ((cells + 1) * cell) - 0.5).clamp(0, cells - 1)
    distance = place[:, :, None] - torch.arange(cells, device=shift.device)
    return (1 - distance.abs()).clamp(min=0)
