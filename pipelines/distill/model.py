"""One model of a distillation: as it was trained, and as it was measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from lightning_modules import Classifier
from lightning_modules.distillation import Compressed, shown
from pipelines.distill.footprint import Footprint
from pipelines.evaluate.result import Evaluation


class TrainedModel(NamedTuple):
    """A model that is to be measured.

    Args:
        name: "teacher", "student", or that of a control; models of one name differ by their seed.
        seed: of its training.
        classifiers: one, or several teachers.
        weights: of several, adding up to 1.
        compressed: its size, where the network itself holds zeros or floats for smaller numbers.
        note: what limits a comparison with it.
        native: size of the data, which those of several that state none are shown.
    """

    name: str
    seed: int
    classifiers: Sequence[Classifier]
    weights: Sequence[float] = (1.0,)
    compressed: Compressed | None = None
    note: str = ""
    native: tuple[int, int] | None = None

    @property
    def network(self) -> nn.Module:
        """One module that runs all of them, so that the footprint of several teachers is theirs."""
        if len(self.classifiers) == 1:
            return self.classifiers[0]
        return _Mean(self.classifiers, self.native)


@dataclass(frozen=True)
class MeasuredModel:
    """A model with its rows.

    Args:
        name: see `TrainedModel`.
        seed: of its training.
        rows: one for each undisturbed test image, with `kl` to the teacher.
        footprint: size, work, time and memory.
        source: where its weights are.
        digest: of its weights.
        evaluation: under the probes; only of single models, the first of each name.
        run_id: of MLflow, where it has a run of its own.
    """

    name: str
    seed: int
    rows: pd.DataFrame = field(repr=False)
    footprint: Footprint
    source: str = ""
    digest: str = ""
    evaluation: Evaluation | None = field(default=None, repr=False)
    run_id: str | None = None

    @property
    def title(self) -> str:
        """Name of its run."""
        return titled(self.name, self.seed)


def titled(name: str, seed: int) -> str:
    """`student s0`; of the teacher no seed is known."""
    return name if name == "teacher" else f"{name} s{seed}"


class _Mean(nn.Module):
    def __init__(
        self, classifiers: Sequence[Classifier], native: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.classifiers, self.native = nn.ModuleList(classifiers), native

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        parts = [
            part(shown(image, part.preprocessing, self.native))  # type: ignore[arg-type]
            for part in self.classifiers
        ]
        return torch.stack(parts).mean(0)
