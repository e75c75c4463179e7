"""Corrupted training images: the engine of the probes as augmentation, on the accelerator."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from callbacks.corruption.registry import CORRUPTIONS
from callbacks.randomness import Draw
from datamodules.errors import UserError, suggestion


class CorruptionTraining:
    """Corrupts a share of the training images, each by one corruption drawn at random.

    Train on some corruptions and test on others: a network learns the very noise that it was shown
    (Geirhos et al. 2018, 1808.08750), so that only what was held out tells of robustness.

    Args:
        corruptions: names, of `assay list probes`; equally likely.
        severities: least and largest; each group of images that share a corruption draws one
            between them.
        share: of the images of a batch that are corrupted, the rest stay as they are.
        seed: of all draws.
    """

    def __init__(
        self,
        corruptions: Sequence[str] = tuple(CORRUPTIONS),
        severities: tuple[float, float] = (1.0, 5.0),
        share: float = 0.5,
        seed: int = 0,
    ) -> None:
        if unknown := [name for name in corruptions if name not in CORRUPTIONS]:
            raise UserError(
                f"There is no corruption {unknown[0]!r}.{suggestion(unknown[0], CORRUPTIONS)}"
            )
        low, high = severities
        if not corruptions or not 1 <= low <= high <= 5:
            raise UserError(
                "Expected at least one of `corruptions`, and `severities` as [least, largest] "
                f"between 1 and 5, but got {[*corruptions]} and {[*severities]}."
            )
        if not 0 < share <= 1:
            raise UserError(f"Expected `share` in (0, 1], but got {share}.")
        self.names, self.severities, self.share = tuple(corruptions), (low, high), share
        self.seed, self._batches = seed, 0

    def __repr__(self) -> str:
        """Names everything that decides what is trained on."""
        names = ", ".join(self.names)
        return (
            f"CorruptionTraining([{names}], severities={self.severities}, share={self.share}, "
            f"seed={self.seed})"
        )

    def __call__(self, classifier: nn.Module, image: Tensor, label: Tensor) -> Tensor:
        """Returns `(N, C, H, W)` images in [0, 1], some of them corrupted."""
        # Training batches know no sample index: the batch number keeps draws from repeating.
        rows = torch.arange(len(image), device=image.device) + self._batches * len(image)
        self._batches += 1
        draw, result = Draw(self.seed, rows), image.clone()
        hit = draw.uniform("corrupted", 0, ()) < self.share
        which = (draw.uniform("corruption", 0, ()) * len(self.names)).long()
        for place, name in enumerate(self.names):
            chosen = (hit & (which == place)).nonzero().squeeze(1)
            if len(chosen):
                part = draw.select(chosen)
                low, high = self.severities
                severity = low + (high - low) * float(part.uniform("severity", 0, ())[0])
                result[chosen] = CORRUPTIONS[name]()(image[chosen], severity, part)
        return result
