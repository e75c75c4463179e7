"""Deletion and insertion: does the score follow the pixels a map names first?"""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from callbacks.interpretability.counts import at_least
from callbacks.interpretability.metrics.removal import area, ranked, removal_curve
from callbacks.interpretability.regions.fill import FillName, filled
from callbacks.queries import Queries
from callbacks.randomness import Draw


@dataclass(frozen=True)
class Deletion:
    """Area under the class's softmax as the most influential pixels go first (1806.07421, 2018).

    Both ends count, so it lies in [0, 1]; a good map's score falls early. RISE's steps are 224
    pixels of 224² (224 steps) and its fill is the mean colour of the training data.

    Args:
        steps: equal shares of the image.
        fill: what replaces the pixels.
        grid: patches along each side that go together; None: single pixels.
    """

    steps: int = 16
    fill: FillName = "mean"
    grid: int | None = None
    higher_is_better: ClassVar[bool | None] = False
    backwards: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses a curve without steps."""
        at_least(1, steps=self.steps)

    @property
    def forwards(self) -> int:
        """One for each step and one for the whole image."""
        return self.steps + 1

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        rank, fill = ranked(saliency, self.grid), filled(self.fill, image, draw)
        points = range(self.steps + 1)
        return area(removal_curve(model, image, target, rank, fill, points, self.steps))


@dataclass(frozen=True)
class Insertion:
    """Area under the class's softmax as the most influential pixels come first (1806.07421).

    Starts from a blurred image; a good map's score rises early.

    Args:
        steps: equal shares of the image.
        fill: what it starts from.
        grid: patches along each side that come together; None: single pixels.
    """

    steps: int = 16
    fill: FillName = "blur"
    grid: int | None = None
    higher_is_better: ClassVar[bool | None] = True
    backwards: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses a curve without steps."""
        at_least(1, steps=self.steps)

    @property
    def forwards(self) -> int:
        """One for each step and one for the empty image."""
        return self.steps + 1

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """See `Metric`."""
        rank, start = ranked(saliency, self.grid), filled(self.fill, image, draw)
        points = range(self.steps + 1)
        return area(removal_curve(model, start, target, rank, image, points, self.steps))
