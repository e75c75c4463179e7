"""Images turned and shifted, and the set of all turns and shifts that an attacker may choose."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from callbacks.adversarial.coordinates import turned_back
from callbacks.adversarial.threat_models import beside
from datamodules.errors import UserError

if TYPE_CHECKING:
    from callbacks.randomness import Draw

Fill = Literal["zeros", "reflection"]
"""What comes in from outside of the image: black, or the image mirrored at its edge."""
ANGLE, SHIFT = 30.0, 3 / 32
"""Of Engstrom et al.: 30 degrees, and 3 of the 32 pixels of CIFAR-10."""


def turned(image: Tensor, turn: Tensor, fill: Fill = "zeros") -> Tensor:
    """Turns images about their centre, then shifts them; bilinear between pixels.

    The directions are those of `torchvision.transforms.functional.affine`. Whatever is neither
    turned nor shifted stays exactly as it is.

    Args:
        image: `(N, C, H, W)`.
        turn: `(N, 3)`: degrees clockwise, pixels to the right, pixels down.
        fill: see `Fill`.

    Returns:
        `(N, C, H, W)`; of each image, whoever stands beside it.
    """
    height, width = image.shape[2:]
    x, y = turned_back(image, *turn.unbind(1))  # where each pixel comes from
    grid = torch.stack([x * (2 / width), y * (2 / height)], 3)
    moved = F.grid_sample(image, grid, "bilinear", fill, align_corners=False)
    return torch.where(beside(turn.any(1)), moved, image)


@dataclass(frozen=True)
class Turns:
    """Every rotation up to an angle, with every translation up to a share of the side.

    Args:
        angle: degrees, in (0, 180].
        shift: share of width and height, in [0, 1).
        fill: see `Fill`.
    """

    angle: float = ANGLE
    shift: float = SHIFT
    fill: Fill = "zeros"

    def __post_init__(self) -> None:
        """Refuses what is no such set."""
        if not 0 < self.angle <= 180:
            raise UserError(
                "Expected `epsilon` of rotation and shift to be degrees, above 0 and at most 180, "
                f"but got {self.angle:g}."
            )
        if not 0 <= self.shift < 1:
            raise UserError(
                "Expected `shift` to be a share of the side, at least 0 and below 1, but got "
                f"{self.shift:g}."
            )
        if self.fill not in get_args(Fill):
            raise UserError(f"Expected `fill` to be zeros or reflection, but got {self.fill!r}.")

    def grid(self, image: Tensor, angles: int, shifts: int) -> Tensor:
        """`(angles · shifts², 3)` turns, evenly spaced, the ends among them, large angles first.

        Large angles break most images, so that few are left for the rest.

        Args:
            image: `(N, C, H, W)`, of which only the size matters.
            angles: of them; 1 is no rotation.
            shifts: each way; 1 is none.
        """
        parts = [_spaced(self.angle, angles), *(_spaced(end, shifts) for end in self._ends(image))]
        parts[0] = parts[0][parts[0].abs().argsort(descending=True, stable=True)]
        return torch.cartesian_prod(*parts).to(image)

    def sample(self, image: Tensor, draw: "Draw", count: int) -> Tensor:
        """`(N, count, 3)` turns, uniform over the set."""
        unit = draw.uniform("turn", 0, (count, 3)) * 2 - 1
        return unit * unit.new_tensor([self.angle, *self._ends(image)])

    def contains(self, turn: Tensor, image: Tensor) -> Tensor:
        """`(N,)` bool: whether turns `(N, 3)` of such images are in the set, up to rounding."""
        most = turn.new_tensor([self.angle, *self._ends(image)])
        return (turn.abs() <= most * (1 + 1e-6)).all(1)  # False for NaN

    def apply(self, image: Tensor, turn: Tensor) -> Tensor:
        """Images `(N, C, H, W)` as `turned`, in the box: bilinear weights may round above 1."""
        return turned(image, turn, self.fill).clamp(0, 1)

    def _ends(self, image: Tensor) -> tuple[float, float]:
        """The largest shifts in pixels, to the right and down."""
        height, width = image.shape[2:]
        return self.shift * width, self.shift * height


def _spaced(end: float, count: int) -> Tensor:
    """From -end to end; 0 where there is one only."""
    return torch.linspace(-end, end, count) if count > 1 else torch.zeros(1)
