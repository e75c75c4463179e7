"""Measures a model on corrupted images, in the one pass over the test data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.corruption.constants import checked_side, side_for
from callbacks.corruption.corruption import Corruption
from callbacks.corruption.gaussian_noise import GaussianNoise
from callbacks.corruption.registry import CORRUPTIONS
from callbacks.measurement import Measurement, Samples, Setting
from callbacks.probe import Probe
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules.errors import UserError, suggestion
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.chunks import padded
from lightning_modules.classifier import Classifier

_OF_COLOUR = ("saturate", "white_balance")


class CorruptionProbe(Probe):
    """Accuracy, loss and calibration against severity under one corruption.

    Column of its own: `change`, the root mean square by which pixel values changed, in [0, 1].

    Args:
        corruption: what is done to the images, by name in YAML.
        severities: between 1 and 5, whole or not.
        constants_for: image side in pixels whose published constants are taken (32, 64, 224, 299);
            None takes the nearest to the images' short side, and says which.
        label: name in tables and metric keys; default: the corruption's.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "corruption"
    unit: ClassVar[str] = "severity"
    extras: ClassVar[tuple[str, ...]] = ("change",)
    kinds: ClassVar[Mapping[str, type[Corruption]]] = CORRUPTIONS
    """The corruptions that have names."""

    def __init__(
        self,
        corruption: Corruption | str,
        severities: Sequence[float] = (1, 2, 3, 4, 5),
        constants_for: int | None = None,
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__(limit=limit, chunk=chunk, pool=pool, seed=seed)
        self.severities = tuple(sorted(set(severities)))
        if not self.severities or not all(1 <= severity <= 5 for severity in self.severities):
            raise UserError(
                f"Expected `severities` to be numbers between 1 and 5, but got {[*severities]}: "
                "there are no published constants outside."
            )
        self.corruption = self._named(corruption) if isinstance(corruption, str) else corruption
        self.label = label
        self.side = None if constants_for is None else checked_side(constants_for)
        self.classes = 0

    @classmethod
    def within(
        cls, budget: Budget, corruption: type[Corruption] = GaussianNoise, **options: Any
    ) -> Self:
        """Makes a probe of a corruption.

        Args:
            budget: of a preset.
            corruption: its class.
            **options: of the constructor, such as `severities`.
        """
        return super().within(budget, **{**options, "corruption": corruption()})

    def _named(self, name: str) -> Corruption:
        if name not in self.kinds:
            raise UserError(f"There is no corruption {name!r}.{suggestion(name, self.kinds)}")
        return self.kinds[name]()

    @property
    def name(self) -> str:
        """The label, or the corruption's name."""
        return self.label or self.corruption.name

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        return self.corruption.title

    @property
    def headline(self) -> float:
        """The middle severity, mild to severe."""
        return self.severities[len(self.severities) // 2]

    @property
    def algorithm(self) -> str:
        """The corruption with the constants of every severity, and how many classes are told."""
        if self.side is None:
            return repr(self.corruption)
        used = [self.corruption.constants.at(severity, self.side) for severity in self.severities]
        told = " ".join(f"({', '.join(f'{c:.4g}' for c in constants)})" for constants in used)
        return f"{self.corruption!r}, constants for {self.side} px: {told}; {self.classes} classes"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Chooses the constants by the images' size."""
        self.classes = classifier.num_classes
        if not isinstance(data, ImageDataModule):
            return
        channels, height, width = data.taken("test", 1).image.shape[1:]
        self.side = self.side or side_for(height, width)
        if channels == 1 and self.corruption.name in _OF_COLOUR:
            self.note = f"{self.title}: grey images have no colour and stay as they are, in 8 bits."

    def settings(self) -> tuple[Setting, ...]:
        """One for each severity; its step is the severity, or its place if some are not whole."""
        whole = all(severity == int(severity) for severity in self.severities)
        return tuple(
            Setting(self.name, int(severity) if whole else place, float(severity))
            for place, severity in enumerate(self.severities, 1)
        )

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        """Asks about the corrupted images, chunk by chunk, so that only one is in memory."""
        for setting in settings:
            parts = [
                self._asked(model, samples.select(slice(start, start + self.chunk)), setting)
                for start in range(0, len(samples), self.chunk)
            ]
            logits, change = (torch.cat(part) for part in zip(*parts, strict=True))
            yield Measurement(setting, logits, {"change": change})

    def _asked(self, model: Queries, samples: Samples, setting: Setting) -> tuple[Tensor, Tensor]:
        """Logits of a chunk, and by how much its pixels changed.

        Chunks are padded before they are corrupted: sums that round otherwise in another batch
        shape would be truncated to another grey level.
        """
        image = padded(samples.image, self.chunk)
        draw = Draw(samples.seed, padded(samples.index, self.chunk))
        corrupted = self.corruption(image, setting.value, draw, self.side)
        change = (corrupted - image).square().mean((1, 2, 3)).sqrt()
        n = len(samples)
        return model(corrupted[:n]), change[:n]
