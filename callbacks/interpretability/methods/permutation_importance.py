"""What is lost when a patch comes from another image: permutation feature importance."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.explainer import scores, target_logit
from callbacks.interpretability.regions.segments import (
    SegmentsName,
    areas,
    grid_segments,
    segmented,
    spread,
)
from callbacks.interpretability.sampling_error import Estimated
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


class Importance(NamedTuple):
    """Importance of patches with its standard error over the repeats.

    Args:
        mean: `(..., S)`.
        standard_error: `(..., S)`; not a number with one repeat.
    """

    mean: Tensor
    standard_error: Tensor


@dataclass(frozen=True)
class PermutationImportance:
    """Drop of the logit when a patch comes from another image (Breiman 2001; 1801.01489, 2018).

    Args:
        repeats: other images for every patch; scikit-learn's usual 5, Captum takes 1.
        grid: patches along each side; grid² is the number of superpixels.
        donors: `(M, C, H, W)` the other images; None takes those explained together, and then a
            map depends on its neighbours.
        segments: squares, the same for all images, or each image's superpixels, into which comes
            what the other image has in the same place. An empty one is worth 0.
    """

    repeats: int = 5
    grid: int = 7
    donors: Tensor | None = field(default=None, repr=False, compare=False)
    segments: SegmentsName = "grid"

    def __post_init__(self) -> None:
        """Refuses a mean over nothing."""
        at_least(1, repeats=self.repeats)

    @property
    def forwards(self) -> int:
        """One for each patch and repeat, and one undisturbed."""
        return self.repeats * self.grid**2 + 1

    @property
    def backwards(self) -> int:
        """None."""
        return 0

    def __call__(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Tensor:
        """See `Explainer`."""
        return self.estimated(model, image, target, draw).map

    def estimated(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Estimated:
        """The map with its standard error over the repeats."""
        segment = segmented(self.segments, image, self.grid, model.chunk or 128)
        measured = self._measured(model, image, segment, target, draw)
        return Estimated(*(spread(one, segment) for one in measured))

    def measured(self, model: Queries, image: Tensor, target: Tensor, draw: Draw) -> Importance:
        """Returns the drop `(N, S)` of each image and patch with its standard error."""
        segment = segmented(self.segments, image, self.grid, model.chunk or 128)
        return self._measured(model, image, segment, target, draw)

    def _measured(
        self, model: Queries, image: Tensor, segment: Tensor, target: Tensor, draw: Draw
    ) -> Importance:
        patches = self.grid**2
        donors = image if self.donors is None else self.donors.to(image)
        count = self.repeats * patches
        which = (draw.uniform("donor", 0, (count,)) * len(donors)).long()

        def exchanged(sample: Tensor, step: Tensor) -> Tensor:
            other = (segment[sample] == (step % patches)[:, None, None])[:, None]
            return torch.where(other, donors[which[sample, step]], image[sample])

        left = scores(model, image, target, count, exchanged)
        drop = target_logit(model(image), target)[:, None, None] - left.reshape(
            len(image), self.repeats, patches
        )
        present = areas(segment, patches) > 0
        return _over_repeats(drop.where(present[:, None], 0.0), 1)


def patch_importance(
    model: Queries,
    image: Tensor,
    label: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    grid: int = 7,
    repeats: int = 5,
    seed: int = 0,
) -> Importance:
    """Importance of each patch for a whole data set: how much the mean loss rises.

    A shuffle turns the data set round by a random offset, so that no image keeps its own patch and
    the offsets of all repeats differ; with `N - 1` repeats they are all there are.

    Args:
        model: asked `N·(1 + repeats·grid²)` times.
        image: `(N, C, H, W)`, N >= 2.
        label: `(N, ...)` whatever the loss compares with.
        loss: of logits `(n, K)` and labels, `(n,)`.
        grid: patches along each side.
        repeats: shuffles.
        seed: of the shuffles.

    Raises:
        UserError: there are fewer images than shuffles that differ.
    """
    n = len(image)
    if not 1 <= repeats < n:
        raise UserError(
            f"Expected `repeats` between 1 and the number of images less one, {n - 1}, but got "
            f"{repeats}: there are no more different shuffles."
        )
    generator = torch.Generator().manual_seed(seed)
    offsets = (torch.randperm(n - 1, generator=generator)[:repeats] + 1).tolist()
    segment, before = grid_segments(image, grid), loss(model(image), label).mean()
    rise = [
        loss(model(torch.where(segment == patch, image.roll(offset, 0), image)), label).mean()
        - before
        for offset in offsets
        for patch in range(grid**2)
    ]
    return _over_repeats(torch.stack(rise).reshape(repeats, grid**2), 0)


def _over_repeats(drop: Tensor, dim: int) -> Importance:
    spread_out = (
        drop.std(dim) if drop.shape[dim] > 1 else torch.full_like(drop.mean(dim), torch.nan)
    )
    return Importance(drop.mean(dim), spread_out / drop.shape[dim] ** 0.5)
