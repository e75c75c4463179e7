"""Integrated gradients, collected by region."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.methods.integrated_gradients import integrated_gradients
from callbacks.interpretability.regions.segments import (
    SegmentsName,
    segmented,
    spread,
    sum_by_segment,
)
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Xrai:
    """Mean integrated gradients of each region, from black and from white (1906.02825, 2019).

    What speaks for a class is found as a whole region rather than as scattered pixels. The paper
    grows its answer out of overlapping segmentations of six scales, always by the region of largest
    mean; with one segmentation, as here, that is the order of the means. The map adds up to
    f(x) - (f(black) + f(white)) / 2, as far as the quadrature does.

    Args:
        points: of the quadrature, from each of both baselines.
        grid: grid² is the number of regions.
        segments: superpixels of each image, or squares.
    """

    points: int = 16
    grid: int = 7
    segments: SegmentsName = "superpixels"

    def __post_init__(self) -> None:
        """Refuses an integral over nothing."""
        at_least(1, points=self.points)

    @property
    def forwards(self) -> int:
        """One for each point and baseline."""
        return 2 * self.points

    @property
    def backwards(self) -> int:
        """One for each point and baseline."""
        return 2 * self.points

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        segment = segmented(self.segments, image, self.grid, model.chunk or 128)
        ends = (torch.zeros_like(image), torch.ones_like(image))
        from_both = [integrated_gradients(model, image, target, end, self.points) for end in ends]
        mean = torch.stack(from_both).mean(0).sum(1, keepdim=True)
        return spread(sum_by_segment(mean, segment, self.grid**2), segment)
