"""Input that came, but broken: a dead or saturated sensor, NaN, swapped, inverted, mis-scaled."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from callbacks.missing.missing_input import Given, Loss


@dataclass(frozen=True)
class DeadSensor:
    """Photosites that give 0, each channel by itself."""

    name: ClassVar[str] = "dead_sensor"
    title: ClassVar[str] = "Dead photosites"
    salient: ClassVar[bool] = False
    value: ClassVar[float] = 0.0

    def __call__(self, given: Given) -> Loss:
        """Each with the probability of the rate; see `MissingInput`."""
        order = given.draw.uniform(self.name, 0, tuple(given.image.shape[1:]))
        return Loss(order, torch.full_like(given.image, self.value))


@dataclass(frozen=True)
class SaturatedSensor(DeadSensor):
    """Photosites that give the largest value, each channel by itself."""

    name: ClassVar[str] = "saturated_sensor"
    title: ClassVar[str] = "Saturated photosites"
    value: ClassVar[float] = 1.0


@dataclass(frozen=True)
class NotANumber(DeadSensor):
    """Values that are NaN, as a broken decoder or a division by zero leaves them."""

    name: ClassVar[str] = "not_a_number"
    title: ClassVar[str] = "Values that are NaN"
    value: ClassVar[float] = float("nan")


@dataclass(frozen=True)
class Mistaken(ABC):
    """Whole images that come as a mistake in software makes them."""

    salient: ClassVar[bool] = False
    name: ClassVar[str]

    def __call__(self, given: Given) -> Loss:
        """A share `rate` of the images; see `MissingInput`."""
        order = given.draw.uniform(self.name, 0, (1, 1, 1))
        return Loss(order, self.mistaken(given))

    @abstractmethod
    def mistaken(self, given: Given) -> torch.Tensor:
        """Every image as the mistake makes it, `(N, C, H, W)`."""


@dataclass(frozen=True)
class ChannelOrder(Mistaken):
    """Blue, green, red instead of red, green, blue; grey images stay as they are."""

    name: ClassVar[str] = "channel_order"
    title: ClassVar[str] = "Channels in the wrong order"

    def mistaken(self, given: Given) -> torch.Tensor:
        """The channels from last to first."""
        return given.image.flip(1)


@dataclass(frozen=True)
class WrongRange(Mistaken):
    """Pixels from 0 to 255 where 0 to 1 was wanted."""

    name: ClassVar[str] = "wrong_range"
    title: ClassVar[str] = "Pixels from 0 to 255"

    def mistaken(self, given: Given) -> torch.Tensor:
        """255 times as large."""
        return 255 * given.image


@dataclass(frozen=True)
class Scaled(Mistaken):
    """Pixels divided by 255 twice, so that all is nearly black."""

    name: ClassVar[str] = "scaled_twice"
    title: ClassVar[str] = "Pixels divided by 255 twice"

    def mistaken(self, given: Given) -> torch.Tensor:
        """A 255th."""
        return given.image / 255


@dataclass(frozen=True)
class Inverted(Mistaken):
    """Dark and light exchanged."""

    name: ClassVar[str] = "inverted"
    title: ClassVar[str] = "Inverted"

    def mistaken(self, given: Given) -> torch.Tensor:
        """One minus the pixel."""
        return 1 - given.image
