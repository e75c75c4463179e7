"""Images whose gradient says nothing."""

from torch import Tensor


def zero_gradient(gradient: Tensor) -> Tensor:
    """`(N,)` bool: the gradient of an image is exactly zero, or not a number.

    An attack that follows the gradient cannot move such an image, so that it counts as robust
    without being so (gradient masking: Athalye, Carlini & Wagner 2018, 1802.00420). Rounding and
    `detach` inside the network do that, and large logits, whose softmax is exactly one in float32.

    Args:
        gradient: `(N, C, H, W)` of the loss that the attack follows, at the image itself.

    >>> zero_gradient(torch.tensor([[[[0.0, 0.0]]], [[[0.0, 1e-30]]]]))
    tensor([ True, False])
    """
    flat = gradient.flatten(1)
    return (flat == 0).all(1) | ~flat.isfinite().all(1)
