"""Randomised smoothing: the radius within which the answer under noise cannot change."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from scipy.stats import beta, norm
from torch import Tensor

from datamodules.errors import UserError

if TYPE_CHECKING:
    from callbacks.queries import Queries
    from callbacks.randomness import Draw


class Smoothed(NamedTuple):
    """How often the smoothed network answers what, under noise round each image.

    Args:
        label: `(N,)` the class it answers most often, by copies of its own.
        least: `(N,)` float64, lower bound of the probability of the true class.
    """

    label: Tensor
    least: Tensor


@dataclass(frozen=True)
class Smoothing:
    """Certifies the class that a network answers most often to noisy copies (Cohen et al. 2019).

    1902.02918, algorithm Certify: `selection` copies choose a class, further `samples` bound from
    below how often it is answered (Clopper-Pearson); the radius is sigma times the normal quantile
    of that bound. It holds with probability 1 - alpha for each image, of the smoothed network and
    not of the network itself. Noisy pixels may lie outside of [0, 1], as in the paper.

    Args:
        sigma: standard deviation of the noise in pixel units.
        samples: copies that estimate; the paper takes 100,000, which is dear.
        selection: copies that choose the class.
        alpha: probability of a radius that is too large.
    """

    sigma: float = 0.25
    samples: int = 1000
    selection: int = 100
    alpha: float = 0.001

    def __post_init__(self) -> None:
        """Refuses what certifies nothing."""
        if not 0 < self.sigma < float("inf") or not 0 < self.alpha < 1:
            raise UserError(
                f"Expected `sigma` > 0 and `alpha` in (0, 1), got {self.sigma}, {self.alpha}."
            )
        if self.samples < 1 or self.selection < 1:
            raise UserError(
                f"Expected `samples` and `selection` >= 1, got {self.samples}, {self.selection}."
            )

    @property
    def forwards(self) -> int:
        """Of one image."""
        return self.samples + self.selection

    @property
    def described(self) -> str:
        """What is certified, and how surely."""
        largest = float(norm.ppf(self._least(self.samples))) * self.sigma
        return (
            f"of the network smoothed by noise of {self.sigma:g}, {self.samples:,} copies of each "
            f"image, each radius right with probability {1 - self.alpha:g}; none can exceed "
            f"{largest:.3g}"
        )

    def __call__(
        self, model: "Queries", image: Tensor, label: Tensor, draw: "Draw", classes: int
    ) -> Smoothed:
        """Asks about noisy copies of `(N, C, H, W)` images in [0, 1].

        Args:
            model: any; no gradient is asked for.
            image: originals.
            label: `(N,)` their classes.
            draw: the samples' own random numbers.
            classes: of the model.
        """
        first = self._counts(model, image, draw, "smoothing, selection", self.selection, classes)
        counts = self._counts(model, image, draw, "smoothing", self.samples, classes)
        hits = counts.gather(1, label[:, None])[:, 0].tolist()
        least = torch.tensor([self._least(count) for count in hits], dtype=torch.double)
        return Smoothed(first.argmax(1), least.to(image.device))

    def at(self, least: Tensor, distance: float) -> Tensor:
        """Lower bound of the probability of a class at a distance, `(N,)`.

        Phi(Phi^-1(p) - r / sigma) (Neyman and Pearson; Cohen et al. 2019, theorem 1): above a half
        the class cannot be another one.

        >>> Smoothing(sigma=0.5).at(torch.tensor([norm.cdf(1.0)]), 0.5)
        tensor([0.5000], dtype=torch.float64)
        """
        quantile = norm.ppf(least.cpu().numpy()) - distance / self.sigma
        return torch.from_numpy(norm.cdf(quantile)).to(least.device)

    def _least(self, hits: int) -> float:
        """Clopper and Pearson's one-sided lower bound of the share, at 1 - alpha."""
        if hits == 0:
            return 0.0
        return float(beta.ppf(self.alpha, hits, self.samples - hits + 1))

    def _counts(
        self,
        model: "Queries",
        image: Tensor,
        draw: "Draw",
        purpose: str,
        copies: int,
        classes: int,
    ) -> Tensor:
        """How often each class is answered, `(N, K)`."""
        counts = torch.zeros(len(image), classes, dtype=torch.long, device=image.device)
        for copy in range(copies):
            noise = self.sigma * draw.normal(purpose, copy, tuple(image.shape[1:]))
            answers = model(image + noise).argmax(1, keepdim=True)
            counts.scatter_add_(1, answers, torch.ones_like(answers))
        return counts
