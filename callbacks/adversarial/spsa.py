"""SPSA: gradients estimated along random signs, followed by Adam; asks for scores only."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.directions import rademacher
from callbacks.adversarial.losses import LossName
from callbacks.adversarial.score_ascent import EstimatedAscent, Memory, ScoreAscent
from callbacks.adversarial.threat_models import ThreatModel

_KEPT, _KEPT_SQUARED, _TINY = 0.9, 0.999, 1e-8  # of Adam (Kingma & Ba 2015, 1412.6980)


@dataclass(frozen=True)
class SPSA(EstimatedAscent):
    """Simultaneous perturbation with Adam (Uesato et al. 2018, 1802.05666).

    Only logits are asked for, and differences are taken over 0.01 of a pixel's range, so that it
    sees across steps and roughness that leave a gradient without meaning.

    Args:
        steps: of the ascent.
        samples: forwards that an estimate takes: half as many directions, each with its mirror.
        width: of the differences, delta, in pixel units.
        step_size: of Adam; None takes 0.01 for Linf or what crosses the ball, see `step_length`.
        loss: "margin", "ce" or "dlr".

    >>> SPSA(steps=10).about.forwards  # a step costs 128 for the estimate, and 1 to see
    1291
    """

    steps: int = 100
    samples: int = 128
    width: float = 0.01
    step_size: float | None = None
    loss: LossName = "margin"

    @property
    def about(self) -> About:
        """Score-based, for L∞ and L2."""
        forwards = self._ascent.forwards
        return About("spsa", "SPSA", ("linf", "l2"), climbs=False, forwards=forwards)

    @property
    def _ascent(self) -> ScoreAscent:
        return ScoreAscent(
            self.steps, self.samples, self.width, self.loss, rademacher, adam, self.step_size, True
        )


def adam(memory: Memory, estimate: Tensor, step: int, threat: ThreatModel) -> tuple[Tensor, Memory]:
    """Adam's step, about +-1 for every pixel, for L2 brought to length 1; see `Rule`."""
    if not memory:
        memory = torch.zeros_like(estimate), torch.zeros_like(estimate)
    first = _KEPT * memory[0] + (1 - _KEPT) * estimate
    second = _KEPT_SQUARED * memory[1] + (1 - _KEPT_SQUARED) * estimate.square()
    mean, square = first / (1 - _KEPT**step), second / (1 - _KEPT_SQUARED**step)
    move = mean / (square.sqrt() + _TINY)
    return move if threat.norm == "linf" else threat.ascent(move), (first, second)
