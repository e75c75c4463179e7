"""Measures a model under a transform of another library, in the one pass."""

import re
from typing import Any, ClassVar

import lightning as L
import pandas as pd
from typing_extensions import Self  # Python 3.10 has none

from callbacks.budget import Budget
from callbacks.corruption import CorruptionProbe
from callbacks.foreign.transform import ForeignTransform
from datamodules.image_datamodule import ImageDataModule
from lightning_modules.classifier import Classifier

_LEAST = 0.5 / 255
"""Of `change`: below it images are rounded to whole grey levels, and nothing more."""


class ForeignProbe(CorruptionProbe):
    """Accuracy, loss and calibration against the strength of another library's transform.

    Severity 1 is the first value of the swept parameter, 2 the second, and so on.

    Args:
        transform: as in torchvision:GaussianBlur(kernel_size=9, sigma=0.5|1|2|3|4); nothing in it
            is run as Python.
        label: name in tables and metric keys; default: made of the transform.
        limit, chunk, pool, seed: see `Probe`.
    """

    family: ClassVar[str] = "foreign"

    def __init__(
        self,
        transform: str,
        label: str | None = None,
        *,
        limit: int | None = None,
        chunk: int = 128,
        pool: int = 8,
        seed: int = 0,
    ) -> None:
        corruption = ForeignTransform.of(transform)
        severities = range(1, len(corruption.specification.levels) + 1)
        super().__init__(
            corruption,  # type: ignore[arg-type]  # its name and title are this probe's
            severities, label=label, limit=limit, chunk=chunk, pool=pool, seed=seed,
        )  # fmt: skip
        self.transform = corruption

    @classmethod
    def within(cls, budget: Budget, transform: str = "", **options: Any) -> Self:  # type: ignore[override]
        """Makes a probe of a transform.

        Args:
            budget: of a preset.
            transform: see the constructor.
            **options: of the constructor.
        """
        shared = {"limit": budget.limit, "chunk": budget.chunk, "seed": budget.seed}
        return cls(transform, **{**shared, **options})

    @property
    def name(self) -> str:
        """The label, or `torchvision_GaussianBlur_kernel_size_9_sigma`."""
        said = self.transform.specification
        fixed = [f"{name}_{value}" for name, value in said.fixed if (name, value) != ("p", 1.0)]
        words = "_".join([said.library, said.name, *fixed, said.swept])
        return self.label or re.sub(r"[^A-Za-z0-9.-]+", "_", words).strip("_")

    @property
    def title(self) -> str:  # type: ignore[override]
        """For tables and plots."""
        said = self.transform.specification
        return f"{said.name} ({said.library}){f' by {said.swept}' if said.swept else ''}"

    @property
    def algorithm(self) -> str:
        """The transform with all parameters, and the library's version."""
        return f"{self.transform!r}; {self.classes} classes"

    def prepare(self, classifier: Classifier, data: L.LightningDataModule | None) -> None:
        """Tries the transform on an image, at every severity, and says how it is run."""
        self.classes = classifier.num_classes
        if isinstance(data, ImageDataModule):
            fitting = self.transform.fitting(data.taken("test", 1).image)
            self.transform = self.corruption = fitting  # type: ignore[assignment]
        self.note = f"{self.title}: {self.transform!r}, one at a time on the CPU."

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Says where the transform did nothing: what is right then is no robustness."""
        super().on_test_epoch_end(trainer, pl_module)
        most = pd.Series(self.rows.groupby("severity")["change"].max())
        if idle := [f"{step}" for step, change in most.items() if change < _LEAST]:
            self.note += f" It changes no image at severity {', '.join(idle)}."
