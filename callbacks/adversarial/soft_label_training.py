"""An attack on the distance to given probabilities: the inner maximisation of RSLAD and TRADES."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from callbacks.adversarial.threat_models import Linf
from callbacks.adversarial.training import positive
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass
class SoftLabelTraining:
    """Replaces training images by those that move the answer furthest from given probabilities.

    Steps along the sign of the gradient of KL(p || softmax(z)), from a start that is a little off
    the image, where that gradient is 0 for p the model's own answer (RSLAD: Zi et al. 2021,
    2108.07969; TRADES: Zhang et al. 2019, 1901.08573).

    Args:
        epsilon: radius of the L∞ ball in pixel units, > 0, as a number or like `8/255`; None takes
            the data set's usual one.
        steps: of gradient ascent.
        step_size: in pixel units; None takes a quarter of epsilon, as 2/255 is of 8/255.
        start: standard deviation of the normal start, in pixel units.
        seed: of the starts.
    """

    norm: ClassVar[str] = "linf"
    soft: ClassVar[bool] = True
    """It wants probabilities, not labels."""
    epsilon: float | str | None = None
    steps: int = 10
    step_size: float | None = None
    start: float = 0.001
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses an empty ball."""
        self.epsilon = positive(self.epsilon, self.norm)
        if self.steps < 1:
            raise UserError(f"Expected `steps` of at least 1, but got {self.steps}.")
        self._batches = 0

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Attacks `(N, C, H, W)` images.

        Args:
            classifier: as it is now.
            image: in [0, 1].
            label: probabilities `(N, K)`, for instance the teacher's; or classes `(N,)`.
        """
        # Training batches know no sample index: the batch number keeps starts from repeating.
        rows = torch.arange(len(image), device=image.device) + self._batches * len(image)
        self._batches += 1
        assert isinstance(self.epsilon, float), "the pipeline fills it in"
        threat, queries = Linf(self.epsilon), Queries(classifier)
        offset = Draw(self.seed, rows).normal("soft start", 0, tuple(image.shape[1:]))
        point = threat.project(image + self.start * offset, image)
        length = self.step_size or self.epsilon / 4
        for _ in range(self.steps):
            gradient = queries.gradient(point, _soft_cross_entropy, label)[2]
            point = threat.project(point + length * threat.ascent(gradient), image)
        return point


def _soft_cross_entropy(logits: Tensor, probability: Tensor) -> Tensor:
    """KL(p || softmax(z)) up to the entropy of p, `(N,)`: the same gradient."""
    return F.cross_entropy(logits, probability, reduction="none")
