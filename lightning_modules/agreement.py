"""Whether a network answers the same after something was done to it, or when asked another way."""

import torch
from torch import Tensor, nn

from lightning_modules.answer_rule import AnswerRule, placed
from lightning_modules.trial import as_taken, example, undisturbed


def near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Equal up to a share of the largest number of the other; a damaged network may say NaN."""
    if one.shape != other.shape or not torch.equal(one.isfinite(), other.isfinite()):
        return False
    one, other = (x.nan_to_num(0, 0, 0) for x in (one, other))
    return bool(((one - other).abs() <= tolerance * float(other.abs().max())).all())


def probe_answers(network: nn.Module) -> Tensor | None:
    """Scores `(2, K)` of random images, in eval mode; None where no image is known to be accepted.

    Args:
        network: from images to answers; left as it was.
    """
    image = example(network)
    if image is None:
        return None
    with undisturbed(network), torch.no_grad():
        answer = network(as_taken(network, image))
    return AnswerRule(placed(answer)).scores(answer).clone()
