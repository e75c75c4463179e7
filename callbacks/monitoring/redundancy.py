"""Units that say what another unit of their layer says already."""

import torch
from scipy import stats
from torch import Tensor

_FEWEST = 30
"""Images of which Fisher's normal approximation says something."""


def redundant(values: Tensor, least: float = 0.95, level: float = 0.95) -> Tensor:
    """Which units repeat an earlier one: a correlation certainly beyond `least`, of either sign.

    The lower end is Fisher's (1921) at a level corrected for all pairs (Bonferroni), with every
    image counted once however many of its places are seen: places of an image are not independent.

    Args:
        values: `(N, P, C)` of N images at P places.
        least: absolute correlation in (0, 1) from which a unit is taken for a repetition.
        level: of confidence, over all pairs together.

    Returns:
        `(C,)` bool; a unit that never changes repeats none, and fewer than 30 images
            prove nothing.

    Example:
        >>> x = torch.arange(50.0).sin()[:, None, None]
        >>> redundant(torch.cat([x, 2 * x + 1, x.square()], 2)).tolist()
        [False, True, False]
    """
    images, _, units = values.shape
    if images < _FEWEST or units < 2:
        return torch.zeros(units, dtype=torch.bool)
    centred = values.flatten(0, 1).double()
    centred = centred - centred.mean(0)
    length = centred.norm(dim=0)
    living = length > 1e-6 * values.abs().double().amax().clamp(min=1e-30) * len(centred) ** 0.5
    scaled = torch.where(living, centred / length.where(living, 1), 0)
    size = (scaled.T @ scaled).abs().clamp(max=1 - 1e-12)
    doubt = stats.norm.isf((1 - level) / (units * (units - 1) / 2)) / (images - 3) ** 0.5
    return ((size.atanh() - doubt).tanh() >= least).triu(1).any(0)
