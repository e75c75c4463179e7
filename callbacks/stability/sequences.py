"""Films of one image: the camera moves, turns, tilts or comes closer; light and noise change.

The steps are our own, stated for images of 224 px and scaled with the side where they are lengths.
They are not the stored ImageNet-P, whose frames are compressed films.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from callbacks.randomness import Draw
from callbacks.warp import warped
from datamodules.errors import UserError

_SIDE = 224


@dataclass(frozen=True)
class Translate:
    """The camera moves sideways.

    Args:
        step: pixels of 224.
    """

    name: ClassVar[str] = "translate"
    title: ClassVar[str] = "Translation"
    unit: ClassVar[str] = "pixels of 224"
    independent: ClassVar[bool] = False
    step: float = 1.0

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """By `amount` steps to the right; see `Sequence`."""
        matrix = torch.eye(3, dtype=torch.float64)
        matrix[0, 2] = -amount * self.step * image.shape[-1] / _SIDE
        return warped(image, matrix)


@dataclass(frozen=True)
class Rotate:
    """The camera turns about its axis.

    Args:
        step: degrees.
    """

    name: ClassVar[str] = "rotate"
    title: ClassVar[str] = "Rotation"
    unit: ClassVar[str] = "degrees"
    independent: ClassVar[bool] = False
    step: float = 0.5

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """By `amount` steps; see `Sequence`."""
        angle = math.radians(amount * self.step)
        cos, sin = math.cos(angle), math.sin(angle)
        turn = [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]
        return warped(image, torch.tensor(turn, dtype=torch.float64))


@dataclass(frozen=True)
class Tilt:
    """The camera tilts, so that one side comes closer.

    Args:
        step: per cent by which the edge comes closer.
    """

    name: ClassVar[str] = "tilt"
    title: ClassVar[str] = "Tilt"
    unit: ClassVar[str] = "% of perspective"
    independent: ClassVar[bool] = False
    step: float = 1.0

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """By `amount` steps; see `Sequence`."""
        if not abs(amount * self.step) < 100:  # the edge would be at the camera, or behind it
            raise UserError(
                f"Expected {self!r} to bring the edge closer by less than 100 % in all frames, but "
                f"got {abs(amount * self.step):g} %: take a smaller step or strength, or fewer "
                "frames."
            )
        matrix = torch.eye(3, dtype=torch.float64)
        matrix[2, 0] = amount * self.step / 100 / (image.shape[-1] / 2)
        return warped(image, matrix)


@dataclass(frozen=True)
class Scale:
    """The camera comes closer.

    Args:
        step: per cent of the size.
    """

    name: ClassVar[str] = "scale"
    title: ClassVar[str] = "Scale"
    unit: ClassVar[str] = "% of the size"
    independent: ClassVar[bool] = False
    step: float = 1.0

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """By `amount` steps; see `Sequence`."""
        factor = math.exp(-amount * self.step / 100)
        return warped(image, torch.diag(torch.tensor([factor, factor, 1.0], dtype=torch.float64)))


@dataclass(frozen=True)
class Brighten:
    """The light changes.

    Args:
        step: added to every value, in [0, 1].
    """

    name: ClassVar[str] = "brighten"
    title: ClassVar[str] = "Brightness"
    unit: ClassVar[str] = "of the range"
    independent: ClassVar[bool] = False
    step: float = 0.01

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """By `amount` steps; see `Sequence`."""
        return (image + amount * self.step).clamp(0, 1)


@dataclass(frozen=True)
class SensorNoise:
    """Every frame has normal noise of its own.

    Args:
        step: standard deviation in [0, 1].
    """

    name: ClassVar[str] = "sensor_noise"
    title: ClassVar[str] = "Noise"
    unit: ClassVar[str] = "of the range"
    independent: ClassVar[bool] = True
    step: float = 0.02

    def __call__(self, image: Tensor, amount: float, draw: Draw, frame: int) -> Tensor:
        """With `amount` times the deviation; see `Sequence`."""
        noise = draw.normal(self.name, frame, tuple(image.shape[1:]))
        return (image + amount * self.step * noise).clamp(0, 1)


SEQUENCES = {
    "translate": Translate,
    "rotate": Rotate,
    "tilt": Tilt,
    "scale": Scale,
    "brighten": Brighten,
    "sensor_noise": SensorNoise,
}
