"""What every kind of missing or broken input is: an image in, and what is left of it at a rate."""

from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from callbacks.randomness import Draw
from datamodules.errors import UserError

Fill = Literal["black", "mean", "noise"]
FILLS = ("black", "mean", "noise")


class Loss(NamedTuple):
    """What goes missing of some images; what is lost at a rate is lost at every larger one.

    Args:
        order: `(N, 1 or C, 1 or H, 1 or W)` in [0, 1); a part is lost at rates above its number.
        instead: what stands there then, `(N, C, H, W)`.
    """

    order: Tensor
    instead: Tensor

    def at(self, image: Tensor, rate: float) -> Tensor:
        """The images `(N, C, H, W)` with a share `rate` of their parts lost."""
        return torch.where(self.order < rate, self.instead, image)


class Given(NamedTuple):
    """What there is to choose lost parts by.

    Args:
        image: `(N, C, H, W)` float32 in [0, 1].
        draw: of the N samples.
        mean: `(C, 1, 1)` of the data's pixels, for the fill of that name.
        salience: `(N, 1, H, W)` how much each pixel matters to the model; None where nobody asked.
    """

    image: Tensor
    draw: Draw
    mean: Tensor
    salience: Tensor | None = None


@runtime_checkable
class MissingInput(Protocol):
    """A way in which input goes missing or breaks."""

    name: ClassVar[str]
    title: ClassVar[str]
    salient: ClassVar[bool]
    """Whether it asks how much pixels matter, which takes a gradient of the model."""

    def __call__(self, given: Given) -> Loss:
        """Says what of each image is lost at which rate, and what stands there instead."""
        ...


def filled(fill: Fill, given: Given, purpose: str) -> Tensor:
    """What stands in the place of lost values, `(N, C, H, W)`.

    Args:
        fill: black is 0 in pixels (not what a model sees as 0), mean the data's own by channel,
            noise uniform in [0, 1] for every value.
        given: images, their draws and the mean.
        purpose: of the draws.
    """
    if fill == "noise":
        return given.draw.uniform(f"{purpose} fill", 0, tuple(given.image.shape[1:]))
    empty = torch.zeros_like(given.image)
    return empty if fill == "black" else empty + given.mean.to(empty)


def checked_fill(fill: str) -> None:
    """Refuses a fill that there is not."""
    if fill not in FILLS:
        raise UserError(f"Expected `fill` to be one of {', '.join(FILLS)}, but got {fill!r}.")


def ranked(number: Tensor) -> Tensor:
    """Turns numbers `(N, M)` into the order in which parts are lost, the smallest first.

    At a rate r exactly round(r M) of the M parts have an order below r (halves round down).

    >>> ranked(torch.tensor([[0.3, 0.1, 0.2, 0.9]]))
    tensor([[0.6250, 0.1250, 0.3750, 0.8750]])
    """
    rank = number.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank + 0.5) / number.shape[1]
