"""What a measure of an explanation is."""

from typing import ClassVar, Protocol

from torch import Tensor

from callbacks.queries import Queries
from callbacks.randomness import Draw


class Metric(Protocol):
    """Says how far a map can be believed; a frozen dataclass.

    A metric that explains again has an attribute `explainer`, which the probe sets to the one
    under test.
    """

    higher_is_better: ClassVar[bool | None]
    """None where it describes and does not judge."""

    @property
    def forwards(self) -> int:
        """Images sent forward for each image measured."""
        ...

    @property
    def backwards(self) -> int:
        """Images differentiated for each image measured."""
        ...

    def __call__(
        self, model: Queries, image: Tensor, target: Tensor, saliency: Tensor, draw: Draw
    ) -> Tensor:
        """Measures the maps of some images.

        Args:
            model: that was explained.
            image: `(N, C, H, W)` in [0, 1].
            target: `(N,)` the classes explained.
            saliency: `(N, 1, H, W)`.
            draw: the samples' random numbers.

        Returns:
            `(N,)`; not a number where it is undefined.
        """
        ...
