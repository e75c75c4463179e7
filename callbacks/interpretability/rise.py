"""Which pixels were visible when the class did well: randomised input sampling."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.interpretability.explainer import pairs, target_probability
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
        total = torch.zeros_like(image[:, :1])
        for sample, step in pairs(model, image, self.draws):
            mask = self._masks(image, draw.select(sample), step).to(image)
            value = target_probability(model(image[sample] * mask), target[sample])
            total.index_add_(0, sample, (mask * value[:, None, None, None]).to(image))
        return total / (self.draws * self.visible)

    def _masks(self, image: Tensor, draw: Draw, step: Tensor) -> Tensor:
        """Random cells, up-sampled bilinearly and shifted by up to a cell: `(n, 1, H, W)`."""
        height, width = image.shape[-2:]
        cell = [-(-side // self.cells) for side in (height, width)]
        on = draw.uniform("rise cells", step, (1, self.cells, self.cells)) < self.visible
        size = [(self.cells + 1) * side for side in cell]
        large = F.interpolate(on.float(), size, mode="bilinear", align_corners=False)
        shift = draw.uniform("rise shift", step, (2,))
        row = (shift[:, :1] * cell[0]).long() + torch.arange(height, device=image.device)
        column = (shift[:, 1:] * cell[1]).long() + torch.arange(width, device=image.device)
        return large[torch.arange(len(step))[:, None, None], 0, row[:, :, None], column[:, None]][
            :, None
        ]
