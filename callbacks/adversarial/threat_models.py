"""What an attacker may do to an image: stay in a ball round it and in the box [0, 1]."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor

from callbacks.adversarial.projections import onto_l1_ball
from datamodules.errors import UserError

if TYPE_CHECKING:
    from callbacks.randomness import Draw


def radius(given: float | str, norm: str, name: str) -> float:
    """Reads a radius in pixel units, for images in [0, 1].

    Args:
        given: a number, or a fraction such as `8/255`.
        norm: "linf", "l2" or "l1".
        name: of the argument, for the message.

    Raises:
        UserError: it is none, or an L∞ radius above 1, which holds every image there is.
    """
    try:
        value = float(Fraction(given)) if isinstance(given, str) else float(given)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(
            f"Expected `{name}` to be finite radii >= 0 in pixel units (images are in [0, 1]), "
            f"such as 0.03 or 8/255, but got {given!r}."
        )
    if norm == "linf" and value > 1:
        raise UserError(
            f"Expected `{name}` to be L∞ radii in pixel units, at most 1 (images are in [0, 1]), "
            f"but got {given}. Of grey levels write {value:g}/255."
        )
    return value


class ThreatModel(Protocol):
    """The admissible images round an original one, in pixel units."""

    norm: ClassVar[str]
    """What the radius is measured in: "linf", "l2" or "l1"."""

    @property
    def epsilon(self) -> float:
        """The radius."""
        ...

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        """Moves `(N, C, H, W)` images to admissible ones."""
        ...

    def sample(self, origin: Tensor, draw: "Draw", step: int) -> Tensor:
        """Draws an admissible image round each of `(N, C, H, W)`."""
        ...

    def measure(self, image: Tensor, origin: Tensor) -> Tensor:
        """Returns the distances `(N,)`."""
        ...

    def contains(self, image: Tensor, origin: Tensor) -> Tensor:
        """Returns `(N,)` bool: admissible up to rounding, in the box, and finite."""
        ...

    def ascent(self, gradient: Tensor) -> Tensor:
        """Returns the step of length 1 that raises a linear loss most, `(N, C, H, W)`."""
        ...


@dataclass(frozen=True)
class Linf:
    """Every pixel may change by epsilon.

    Args:
        epsilon: radius, >= 0.
    """

    epsilon: float
    norm: ClassVar[str] = "linf"

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        """Clips the change of every pixel, then the pixel to the box; one temporary image."""
        change = (image - origin).clamp_(-self.epsilon, self.epsilon)
        return change.add_(origin).clamp_(0, 1)

    def sample(self, origin: Tensor, draw: "Draw", step: int) -> Tensor:
        """Draws uniformly from the cube, then clips to the box."""
        offset = draw.uniform("start", step, tuple(origin.shape[1:])) * 2 - 1
        return (origin + offset * self.epsilon).clamp_(0, 1)

    def measure(self, image: Tensor, origin: Tensor) -> Tensor:
        """Returns the largest change of a pixel, `(N,)`."""
        return (image - origin).abs().flatten(1).amax(1)

    def contains(self, image: Tensor, origin: Tensor) -> Tensor:
        """Allows 1e-6 of epsilon and 1e-5 for the rounding of pixels."""
        return _within(self.measure(image, origin), self.epsilon, 1e-5) & _in_box(image)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The sign; 0 where the gradient is 0 or not a number."""
        return gradient.nan_to_num(0.0).sign_()


@dataclass(frozen=True)
class L2:
    """The change has a Euclidean length of at most epsilon.

    Args:
        epsilon: radius, >= 0.
    """

    epsilon: float
    norm: ClassVar[str] = "l2"

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        """Shortens the change, then clips to the box, which shortens it further."""
        change = image - origin
        length = _length(change).clamp_min(torch.finfo(change.dtype).tiny)
        return (origin + change * beside((self.epsilon / length).clamp_max(1))).clamp_(0, 1)

    def sample(self, origin: Tensor, draw: "Draw", step: int) -> Tensor:
        """Draws uniformly from the ball (radius epsilon · u^(1/d)), then clips to the box."""
        direction = draw.normal("start", step, tuple(origin.shape[1:]))
        radius = draw.uniform("start radius", step, ()) ** (1 / origin[0].numel())
        return (origin + self.ascent(direction) * beside(radius * self.epsilon)).clamp_(0, 1)

    def measure(self, image: Tensor, origin: Tensor) -> Tensor:
        """Returns the Euclidean distances, `(N,)`."""
        return _length(image - origin)

    def contains(self, image: Tensor, origin: Tensor) -> Tensor:
        """Allows 1e-6 of epsilon and what storing float32 pixels may add, 2^-25 each."""
        rounding = math.sqrt(image[0].numel()) * 2.0**-25
        return _within(self.measure(image, origin), self.epsilon, rounding) & _in_box(image)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The gradient at unit length, however small it is; 0 where it is 0 or not a number.

        Scaling by a power of two first keeps the squares from underflowing and rounds nothing: a
        guard such as `max(length, 1e-6)` instead leaves confident images where they are and makes
        them look robust.
        """
        gradient = gradient.nan_to_num(0.0)
        largest = gradient.abs().flatten(1).amax(1)
        gradient = torch.ldexp(gradient, beside(-torch.frexp(largest).exponent))
        length = _length(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
        return gradient * beside(1 / length)


@dataclass(frozen=True)
class L1:
    """The changes of all pixels add up to at most epsilon.

    Args:
        epsilon: radius, >= 0.
    """

    epsilon: float
    norm: ClassVar[str] = "l1"

    def project(self, image: Tensor, origin: Tensor) -> Tensor:
        """Moves to the nearest point of ball and box together, see `onto_l1_ball`."""
        return onto_l1_ball(image, origin, self.epsilon)

    def sample(self, origin: Tensor, draw: "Draw", step: int) -> Tensor:
        """Draws normal noise and projects it: few pixels change, as in all that is near an edge."""
        return self.project(origin + draw.normal("start", step, tuple(origin.shape[1:])), origin)

    def measure(self, image: Tensor, origin: Tensor) -> Tensor:
        """Returns the sums of changes, `(N,)`."""
        return (image - origin).abs().flatten(1).sum(1)

    def contains(self, image: Tensor, origin: Tensor) -> Tensor:
        """Allows 1e-6 of epsilon and what storing float32 pixels may add, 2^-25 each."""
        rounding = image[0].numel() * 2.0**-25
        return _within(self.measure(image, origin), self.epsilon, rounding) & _in_box(image)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The whole length for the steepest pixel; 0 where the gradient is 0 or not a number."""
        flat = gradient.nan_to_num(0.0).flatten(1)
        steepest = flat.abs().argmax(1, keepdim=True)
        step = torch.zeros_like(flat).scatter_(1, steepest, flat.gather(1, steepest).sign())
        return step.reshape(gradient.shape)


THREAT_MODELS: dict[str, type[Linf] | type[L2] | type[L1]] = {"linf": Linf, "l2": L2, "l1": L1}


def _length(change: Tensor) -> Tensor:
    """Euclidean length of each `(C, H, W)`, `(N,)`; in the order of operations that Foolbox has."""
    return change.flatten(1).square().sum(1).sqrt()


def beside(number: Tensor) -> Tensor:
    """`(N,)` -> `(N, 1, 1, 1)`."""
    return number[:, None, None, None]


def _within(distance: Tensor, epsilon: float, rounding: float) -> Tensor:
    return distance <= epsilon * (1 + 1e-6) + rounding  # False for NaN


def _in_box(image: Tensor) -> Tensor:
    flat = image.flatten(1)
    return (flat.amin(1) >= 0) & (flat.amax(1) <= 1)  # False for NaN
