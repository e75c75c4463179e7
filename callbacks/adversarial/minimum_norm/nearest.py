"""What every minimum-norm attack is, and of each image the nearest adversarial point it saw."""

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.threat_models import THREAT_MODELS, beside
from callbacks.queries import Queries
from callbacks.randomness import Draw
from callbacks.rows import is_answer

Distance = Literal["linf", "l2", "l1", "l0"]
"""What is least; l0 counts coordinates, of which a pixel of a colour image has three."""


class NearestResult(NamedTuple):
    """What an attack found; whoever called it asks the model again.

    Args:
        image: `(N, C, H, W)` in [0, 1], the nearest adversarial point seen; the image itself where
            there was none.
        distance: `(N,)` from the image, infinite where none was found, 0 where the model errs.
        forwards: `(N,)` int64.
        backwards: `(N,)` int64.
    """

    image: Tensor
    distance: Tensor
    forwards: Tensor
    backwards: Tensor


class MinimumNormAttack(Protocol):
    """A search for the least change of an image that the classifier errs on, in no ball."""

    @property
    def about(self) -> About:
        """Its name and the norms that it knows, the first of which is meant where none is said."""
        ...

    @property
    def gradients(self) -> int:
        """Forwards with at least one backward that an image costs at most."""
        ...

    def __call__(
        self, model: Queries, image: Tensor, label: Tensor, norm: Distance, draw: Draw
    ) -> NearestResult:
        """Attacks `(N, C, H, W)` images.

        Args:
            model: the classifier, whose calls are counted.
            image: `(N, C, H, W)` in [0, 1].
            label: `(N,)` true classes.
            norm: of the change.
            draw: the samples' own random numbers.
        """
        ...


class Nearest:
    """Keeps of each image the nearest adversarial point, and what was spent on it.

    Args:
        image: `(N, C, H, W)` originals in [0, 1].
        label: `(N,)` true classes.
        norm: that distances are measured in.
    """

    def __init__(self, image: Tensor, label: Tensor, norm: Distance) -> None:
        n = len(image)
        self.origin, self.label, self.norm = image, label, norm
        self.image = image.clone()
        self.distance = torch.full((n,), torch.inf, device=image.device)
        self.forwards = torch.zeros(n, dtype=torch.long, device=image.device)
        self.backwards = torch.zeros_like(self.forwards)

    def see(self, rows: Tensor, point: Tensor, logits: Tensor, backwards: int = 0) -> Tensor:
        """Takes note of one point of the samples `rows`, which took a forward.

        Args:
            rows: `(n,)` positions.
            point: `(n, C, H, W)` in [0, 1].
            logits: `(n, K)` answers there; what is no answer is wrong, as it is in the rows.
            backwards: that were taken there.

        Returns:
            `(n,)` bool: adversarial.
        """
        # All of them, in order: views in place of copies.
        of = slice(None) if len(rows) == len(self.label) else rows
        self.forwards[of] += 1
        self.backwards[of] += backwards
        wrong = (logits.argmax(1) != self.label[of]) | ~is_answer(logits)
        distance, least = measure(point, self.origin[of], self.norm), self.distance[of]
        nearer = wrong & (distance < least)
        self.distance[of] = torch.where(nearer, distance, least)
        self.image[of] = torch.where(beside(nearer), point, self.image[of])
        return wrong

    def improvable(self, rows: Tensor) -> Tensor:
        """`(n,)` bool: a nearer point can exist; at 0, or at one coordinate, there is none."""
        return self.distance[rows] > (1 if self.norm == "l0" else 0)

    def result(self) -> NearestResult:
        """What the attack returns."""
        return NearestResult(self.image, self.distance, self.forwards, self.backwards)


def measure(image: Tensor, origin: Tensor, norm: str) -> Tensor:
    """Returns the distances `(N,)` float32.

    >>> measure(torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([[[[0.5, 0.0]]]]), "l0")
    tensor([1.])
    """
    if norm == "l0":
        return (image != origin).flatten(1).sum(1).float()
    return THREAT_MODELS[norm](0.0).measure(image, origin)


def bisect(model: Queries, nearest: Nearest, steps: int) -> None:
    """Draws every point found back towards its image, on the straight way between them.

    An attack of few steps may end far behind the boundary; its direction is then worth more.

    Args:
        model: the classifier, whose calls are counted.
        nearest: takes note of every point.
        steps: forwards of each image; the distance is then known to 2^-steps of itself, as far as
            there is one boundary on the way.
    """
    rows = (nearest.distance.isfinite() & (nearest.distance > 0)).nonzero().squeeze(1)
    origin, change = nearest.origin[rows], nearest.image[rows] - nearest.origin[rows]
    high = torch.ones_like(nearest.distance[rows])
    low = torch.zeros_like(high)
    for _ in range(steps if len(rows) else 0):
        middle = (low + high) / 2
        point = (origin + beside(middle) * change).clamp_(0, 1)
        wrong = nearest.see(rows, point, model(point))
        low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
