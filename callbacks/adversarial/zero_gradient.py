"""Counts images whose gradient says nothing, beside every attack that follows it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ZeroGradients:
    """How many images had a gradient of exactly zero (or none that is a number).

    An attack that follows the gradient cannot move such an image, so that it counts as robust
    without being so (gradient masking: Athalye, Carlini & Wagner 2018, 1802.00420). Rounding and
    `detach` inside the network do that, and large logits, whose softmax is exactly one in float32.

    Args:
        zero: such images.
        total: of all that were differentiated.
    """

    zero: int = 0
    total: int = 0

    def __add__(self, other: "ZeroGradients") -> "ZeroGradients":
        return ZeroGradients(self.zero + other.zero, self.total + other.total)

    @property
    def share(self) -> float:
        """In [0, 1]; NaN where nothing was differentiated."""
        return self.zero / self.total if self.total else float("nan")

    def sentence(self, least: float = 0.01) -> str:
        """What must stand beside the number of an attack; empty below a share of `least`."""
        if not self.total or self.share < least:
            return ""
        return (
            f"The gradient is zero for {self.share:.0%} of {self.total} images, which the attack "
            "could not move: the number says nothing about their robustness."
        )


def zero_gradient(gradient: Tensor) -> Tensor:
    """`(N,)` bool: the gradient of an image is exactly zero, or not a number.

    Args:
        gradient: `(N, C, H, W)` of the loss that the attack follows, at the image itself.

    >>> zero_gradient(torch.tensor([[[[0.0, 0.0]]], [[[0.0, 1e-30]]]]))
    tensor([ True, False])
    """
    flat = gradient.flatten(1)
    return (flat == 0).all(1) | ~flat.isfinite().all(1)


def zero_gradient_share(gradient: Tensor) -> ZeroGradients:
    """Counts the images of a batch whose gradient is zero; add up batches with `+`."""
    return ZeroGradients(int(zero_gradient(gradient).sum()), len(gradient))
