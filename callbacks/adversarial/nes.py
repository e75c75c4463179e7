"""NES: gradients estimated along mirrored normal directions; asks for scores only."""

from dataclasses import dataclass

from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.directions import normal
from callbacks.adversarial.losses import LossName
from callbacks.adversarial.score_ascent import EstimatedAscent, Memory, ScoreAscent
from callbacks.adversarial.threat_models import ThreatModel

_KEPT = 0.9  # of earlier estimates, as Ilyas et al.


@dataclass(frozen=True)
class NES(EstimatedAscent):
    """Natural evolution strategies (Ilyas et al. 2018, 1804.08598).

    Steps along the sign (L2: along the direction) of a running mean of estimates, from the image.
    At its defaults some 10,000 questions an image, the limit that its authors set themselves.

    Args:
        steps: of the ascent.
        samples: forwards that an estimate takes: half as many directions, each with its mirror.
        width: of the differences, sigma, in pixel units.
        step_size: of a step; None takes 0.01 for Linf or what crosses the ball, see `step_length`.
        loss: "margin", "ce" or "dlr".

    >>> NES().about.forwards
    10201
    """

    steps: int = 200
    samples: int = 50
    width: float = 0.001
    step_size: float | None = None
    loss: LossName = "margin"

    @property
    def about(self) -> About:
        """Score-based, for L∞ and L2."""
        forwards = self._ascent.forwards
        return About("nes", "NES", ("linf", "l2"), climbs=False, forwards=forwards)

    @property
    def _ascent(self) -> ScoreAscent:
        return ScoreAscent(
            self.steps, self.samples, self.width, self.loss, normal, momentum, self.step_size, False
        )


def momentum(
    memory: Memory, estimate: Tensor, step: int, threat: ThreatModel
) -> tuple[Tensor, Memory]:
    """The steepest step along a running mean of estimates; see `Rule`."""
    mean = _KEPT * memory[0] + (1 - _KEPT) * estimate if memory else estimate
    return threat.ascent(mean), (mean,)
