"""AugMix: training images mixed with chains of mild operations, and answers that must agree."""

from math import isfinite

import torch
from torch import Tensor, nn

from callbacks.corruption.augmix_operations import OPERATIONS
from callbacks.randomness import Draw
from datamodules.errors import UserError

_LEAST = 0.1
"""Of a level."""
_DEPTHS = 3


class AugMix:
    """Mixes every training image with chains of operations (Hendrycks et al. 2020, 1912.02781).

    `width` chains of one to three operations each are mixed by Dirichlet(1) weights, and the result
    with the image itself by a Beta(1, 1) weight; all numbers are each image's own. No operation is
    a corruption of ImageNet-C. With `consistency` the training compares the answers to the image
    and to two mixtures, and learns the label from the image as it is.

    Args:
        severity: of the operations, in (0.1, 10]; levels are uniform between 0.1 and this.
        width: chains.
        depth: operations in each; None draws 1, 2 or 3.
        consistency: weight of the Jensen-Shannon divergence; 0 trains on one mixture alone.
        seed: of all draws.
    """

    def __init__(
        self,
        severity: float = 3.0,
        width: int = 3,
        depth: int | None = None,
        consistency: float = 12.0,
        seed: int = 0,
    ) -> None:
        if not _LEAST < severity <= 10:
            raise UserError(f"Expected `severity` in (0.1, 10], but got {severity}.")
        for name, number in (("width", width), ("depth", depth)):
            if number is not None and number < 1:
                raise UserError(f"Expected `{name}` of at least 1, but got {number}.")
        if not (consistency >= 0 and isfinite(consistency)):
            raise UserError(f"Expected `consistency` of at least 0, but got {consistency}.")
        self.severity, self.width, self.depth = severity, width, depth
        self.consistency, self.seed, self._calls = consistency, seed, 0

    def __repr__(self) -> str:
        """Names everything that decides what is trained on."""
        return (
            f"AugMix(severity={self.severity:g}, width={self.width}, depth={self.depth}, "
            f"consistency={self.consistency:g}, seed={self.seed})"
        )

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Mixes `(N, C, H, W)` images in [0, 1]; another mixture at every call."""
        # Training batches know no sample index: the number of the call keeps draws from repeating.
        rows = torch.arange(len(image), device=image.device) + self._calls * len(image)
        self._calls += 1
        draw = Draw(self.seed, rows)
        weights, kept = mixing_weights(draw, self.width)
        mixture = torch.zeros_like(image)
        for chain in range(self.width):
            mixture += weights[:, chain, None, None, None] * self._chain(image, draw, chain)
        kept = kept[:, None, None, None]
        return (1 - kept) * image + kept * mixture

    def _chain(self, image: Tensor, draw: Draw, chain: int) -> Tensor:
        """One chain of operations on every image."""
        steps = self.depth or _DEPTHS
        length = (draw.uniform("depth", chain, ()) * _DEPTHS).long() + 1
        result = (image * 255).round() / 255
        for step in range(steps):
            at = chain * steps + step
            which = (draw.uniform("operation", at, ()) * len(OPERATIONS)).long()
            level = _LEAST + (self.severity - _LEAST) * draw.uniform("level", at, ())
            level = torch.where(draw.uniform("direction", at, ()) < 0.5, level, -level)
            running = torch.ones_like(length, dtype=torch.bool) if self.depth else length > step
            result = _applied(result, which, level, running)
        return result


def mixing_weights(draw: Draw, width: int) -> tuple[Tensor, Tensor]:
    """Dirichlet(1, ..., 1) weights of the chains, and the Beta(1, 1) weight of their mixture.

    Args:
        draw: of N samples.
        width: chains.

    Returns:
        `(N, width)` that sum to 1, and `(N,)` in [0, 1).
    """
    exponential = -(1 - draw.uniform("weights", 0, (width,))).log()
    return exponential / exponential.sum(1, keepdim=True), draw.uniform("mixture", 0, ())


def _applied(image: Tensor, which: Tensor, level: Tensor, running: Tensor) -> Tensor:
    """Every image by its own operation, where its chain still runs."""
    result = image.clone()
    for place, operation in enumerate(OPERATIONS.values()):
        chosen = (running & (which == place)).nonzero().squeeze(1)
        if len(chosen):
            result[chosen] = operation(image[chosen], level[chosen])
    return result
