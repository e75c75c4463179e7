"""Measures a model on images that were corrupted and stored beforehand."""

from collections.abc import Callable
from dataclasses import dataclass, field

import lightning as L
import torch
from torch import Tensor

from callbacks.budget import Budget
from callbacks.corruption.probe import CorruptionProbe
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.measurement import Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.image_datamodule import ImageDataModule
from datamodules.prepared import Prepared
from datamodules.preprocessing import in_unit_range
from lightning_modules.classifier import Classifier


@dataclass(frozen=True)
class StoredCorruption:
    """Finds the stored image of every sample, where others compute it.

    Args:
        name: of the corruption.
        shown: gives the images of a corruption, a severity and indices; see `Prepared.shown`.
    """

    name: str
    shown: Callable[[str, int, Tensor], Tensor] = field(repr=False)

    @property
    def title(self) -> str:
        """For tables and plots."""
        known = CORRUPTIONS.get(self.name)
        return known.title if known else self.name.replace("_", " ").capitalize()

    def __call__(
        self, image: Tensor, severity: float, draw: Draw, constants_for: int | None = None
    ) -> Tensor:
        """Returns `(N, C, H, W)` stored images in [0, 1] of the samples of `draw`."""
        stored = self.shown(self.name, int(severity), draw.index.cpu())
        return in_unit_range(stored.to(image.device))


class StoredProbe(CorruptionProbe):
    """Accuracy, loss and calibration on the images of a prepared set, as `CorruptionProbe`.

    `change` is from the undisturbed twin; where there is none, it is not known.
    """

    _described, _undisturbed = "", True

    @property
    def algorithm(self) -> str:
        """Which images these are, by their content too, and how many classes are told."""
        return f"stored {self.name}{self._described}; {self.classes} classes"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Checks that stored images come in the size of undisturbed ones, and reads what they are.

        Raises:
            UserError: they do not.
        """
        assert isinstance(data, Prepared)
        height, width = data.shown_size()
        content = data.stored.digest(self.name, data.test_index)[:16]
        self._described = f" of {data.title} at {height}x{width} px, content {content}"
        self.classes, self._undisturbed = classifier.num_classes, data.undisturbed

    def _asked(self, model: Queries, samples: Samples, setting: Setting) -> tuple[Tensor, Tensor]:
        logits, change = super()._asked(model, samples, setting)
        return logits, change if self._undisturbed else torch.full_like(change, torch.nan)


def stored_probes(data: ImageDataModule, budget: Budget) -> list[Probe]:
    """A probe for every corruption of a prepared set; none for other data sets.

    Args:
        data: the data set of a run.
        budget: of its preset.
    """
    if not isinstance(data, Prepared):
        return []
    shared = {"limit": budget.limit, "chunk": budget.chunk, "seed": budget.seed}
    return [
        StoredProbe(StoredCorruption(name, data.shown), severities, **shared)  # type: ignore[arg-type]
        for name, severities in data.stored.severities.items()
    ]
