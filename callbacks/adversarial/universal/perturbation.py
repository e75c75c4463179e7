"""Universal adversarial perturbation: the same small change for every image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.threat_models import THREAT_MODELS
from callbacks.adversarial.universal.learning import Shown
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class Universal:
    """One perturbation for all images (Moosavi-Dezfooli et al. 2017, 1610.08401).

    Learnt by stochastic gradient ascent on other images than those that it is tried on (Shafahi et
    al. 2020, 1811.11304). Beside it random signs (L2: a random direction) of the same size.

    Args:
        steps: passes over the images that it is learnt on.
    """

    steps: int = 40

    def __post_init__(self) -> None:
        """Refuses to learn nothing."""
        if self.steps < 1:
            raise UserError(f"Expected `steps` of at least 1, but got {self.steps}.")

    @property
    def about(self) -> About:
        """For L∞ and L2."""
        return About("universal", "Universal perturbation", ("linf", "l2"))

    def start(self, norm: str, severity: float, shape: tuple[int, ...], device: str) -> Tensor:
        """No change."""
        return torch.zeros(shape, device=device)

    def control(self, pattern: Tensor, norm: str, severity: float, seed: int) -> Tensor:
        """Random signs, or for L2 a random direction, as long as the radius."""
        draw = Draw(seed, torch.zeros(1, dtype=torch.long, device=pattern.device))
        noise = draw.normal("universal control", 0, tuple(pattern.shape))
        return severity * THREAT_MODELS[norm](severity).ascent(noise)[0]

    def moved(
        self, pattern: Tensor, gradient: Tensor, norm: str, severity: float, part: float
    ) -> Tensor:
        """The steepest step, then back into the ball."""
        step = THREAT_MODELS[norm](severity).ascent(gradient[None])[0]
        pattern = pattern + part * severity * step
        if norm == "linf":
            return pattern.clamp(-severity, severity)
        return pattern * (severity / pattern.norm().clamp_min(severity))

    def show(
        self, image: Tensor, pattern: Tensor, norm: str, severity: float, draw: Draw, number: int
    ) -> Shown:
        """Adds it, and clips to the box."""
        return Shown((image + pattern).clamp(0, 1), {})
