"""Logit pairing: two images are to get the same answer, in numbers."""

from torch import Tensor


def logit_pairing(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference of two batches of logits (Kannan et al. 2018, 1803.06373).

    The mean is over images and classes, as in the authors' script.

    Args:
        one: logits `(N, K)`, of images under attack for adversarial logit pairing.
        other: logits `(N, K)`, of the same images undisturbed; both sides are differentiated.

    Returns:
        `()`, at least 0.
    """
    return (one - other).square().mean()


def clean_logit_pairing(logits: Tensor) -> Tensor:
    """Logit pairing of images with other images, of any class (Kannan et al. 2018, 1803.06373).

    The first half of a batch is paired with the second, which a shuffled order makes random pairs;
    it keeps logits small. Of an odd number the last is left out; a single image has no partner.

    Args:
        logits: `(N, K)`.

    Returns:
        `()`, at least 0.
    """
    half = len(logits) // 2
    if not half:
        return 0.0 * logits.sum()
    return logit_pairing(logits[:half], logits[half : 2 * half])
