"""How much the class's logit drops when a patch is covered."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.interpretability.explainer import scores, target_logit
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.interpretability.regions.segments import grid_segments, spread
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Occlusion:
    """Drop of the logit when a patch is covered (Zeiler & Fergus 2013, 1311.2901).

    The windows do not overlap. Captum's default asks one window at a time, 26-30 times too dear.

    Args:
        grid: patches along each side.
        fill: what covers them.
    """

    grid: int = 7
    fill: FillName = "mean"

    @property
    def forwards(self) -> int:
        """One for each patch and one uncovered."""
        return self.grid**2 + 1

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        segment, cover = grid_segments(image, self.grid), filled(self.fill, image, draw)

        def covered(sample: Tensor, step: Tensor) -> Tensor:
            hidden = (segment == step[:, None, None])[:, None]
            return torch.where(hidden, cover[sample], image[sample])

        left = scores(model, image, target, self.grid**2, covered)
        return spread(target_logit(model(image), target)[:, None] - left, segment)
