"""Adversarial patch: a picture that lies anywhere on an image and decides its class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from callbacks.adversarial.attack import About
from callbacks.adversarial.universal.learning import Shown
from callbacks.adversarial.universal.placement import Placement, pasted, side_of
from callbacks.randomness import Draw
from datamodules.errors import UserError


@dataclass(frozen=True)
class Patch:
    """One square patch at random places, scales and rotations (Brown et al. 2017, 1712.09665).

    Learnt on other images than those that it is tried on, over random placements. Beside it a patch
    of random pixels in the very same places, which tells hiding the object from attacking it.

    Args:
        steps: passes over the images that it is learnt on.
        scale: smallest scale, of the side at full size.
    """

    steps: int = 40
    scale: float = 0.8

    def __post_init__(self) -> None:
        """Refuses to learn nothing, and patches of no size."""
        if self.steps < 1:
            raise UserError(f"Expected `steps` of at least 1, but got {self.steps}.")
        if not 0 < self.scale <= 1:
            raise UserError(f"Expected `scale` in (0, 1], but got {self.scale}.")

    @property
    def about(self) -> About:
        """Its size is a share of the image."""
        columns = ("angle", "covered", "patch_right", "patch_down")
        return About("patch", "Adversarial patch", ("patch",), columns=columns)

    def start(self, norm: str, severity: float, shape: tuple[int, ...], device: str) -> Tensor:
        """Grey, with a pixel for each pixel that it covers at full size."""
        side = max(1, round(side_of(severity, shape)))
        return torch.full((shape[0], side, side), 0.5, device=device)

    def control(self, pattern: Tensor, norm: str, severity: float, seed: int) -> Tensor:
        """Random pixels, uniform in [0, 1)."""
        draw = Draw(seed, torch.zeros(1, dtype=torch.long, device=pattern.device))
        return draw.uniform("patch control", 0, tuple(pattern.shape))[0]

    def moved(
        self, pattern: Tensor, gradient: Tensor, norm: str, severity: float, part: float
    ) -> Tensor:
        """Along the sign of the gradient, inside the box."""
        return (pattern + part / 2 * gradient.sign()).clamp(0, 1)

    def show(
        self, image: Tensor, pattern: Tensor, norm: str, severity: float, draw: Draw, number: int
    ) -> Shown:
        """Pastes it at random."""
        shape = tuple(image.shape)
        place = Placement.drawn(draw, number, side_of(severity, shape), self.scale, shape)
        shown, covered = pasted(image, pattern, place)
        columns = (place.angle, covered, place.right, place.down)
        return Shown(shown.clamp(0, 1), dict(zip(self.about.columns, columns, strict=True)))
