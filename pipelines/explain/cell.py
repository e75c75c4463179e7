"""The stages of an explanation as cells: each is measured once, whole or not at all."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from callbacks.digests import model_digest
from callbacks.queries import Queries
from pipelines.explain.inputs import Inputs
from pipelines.report.result import Parts, load_parts, save_parts
from pipelines.study import Study
from pipelines.study.cells import Cell, Cells

_VERSION = 4
"""Raised whenever a stage would measure other numbers: stored cells are then not reused."""


@dataclass(frozen=True)
class Stage:
    """What one stage has measured.

    Args:
        tables: by name.
        facts: further numbers and names, JSON-able.
        arrays: pictures and maps, by name.
        method: how it was measured, by topic.
        notes: how far the numbers can be trusted.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    method: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def parts(self) -> Parts:
        """The stage taken apart for the disk."""
        words = {"facts": self.facts, "method": self.method, "notes": list(self.notes)}
        return Parts({**words, "tables": list(self.tables)}, self.tables, self.arrays)

    @classmethod
    def from_parts(cls, parts: Parts) -> "Stage":
        """The inverse of `parts`."""
        words = {name: parts.facts[name] for name in ("facts", "method", "notes")}
        return cls(tables=parts.rows, arrays=parts.arrays, **words)


class Stages:
    """Measures stages, or reads what an earlier run has measured.

    Args:
        cells: of the study.
        facts: what may change any stage; see `common_facts`.
        folder: of the result, which gets the files that a stage makes.
        say: tells the user what is measured.
    """

    def __init__(
        self, cells: Cells, facts: Mapping[str, Any], folder: Path,
        say: Callable[[str], object] = print,
    ) -> None:  # fmt: skip
        self.cells, self.facts, self.folder, self.say = cells, facts, folder, say

    def measured(
        self, name: str, settings: Mapping[str, Any], work: Callable[[Path], Stage]
    ) -> Stage:
        """The stage of that name.

        Args:
            name: of the stage.
            settings: what decides it besides `facts`.
            work: measures it; files that it writes into the folder it is given come into the
                result's folder too.
        """

        def in_cell(folder: Path) -> Cell:
            self.say(f"measure  {name}")
            parts = work(folder).parts()
            save_parts(parts, folder)
            return Cell(parts.facts)

        cell = self.cells.measured({**self.facts, "stage": name, **settings}, in_cell)
        assert cell.folder is not None, "a stored cell has a folder"
        for file in cell.folder.glob("*.safetensors"):
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, self.folder)
        return Stage.from_parts(load_parts(cell.facts, cell.facts["tables"], cell.folder))


def spent(model: Queries) -> dict[str, int]:
    """What a model was asked, as facts of a stage."""
    return {"forwards": model.forwards, "backwards": model.backwards}


def common_facts(study: Study, inputs: Inputs) -> dict[str, Any]:
    """Everything that may change the rows of any stage."""
    classifier, data = inputs.classifier, inputs.data
    cuda = study.device.type == "cuda"
    columns = ["index", "prediction", "correct", "confidence", "logsumexp"]
    answers = hashlib.sha256(inputs.clean[columns].to_numpy(float).tobytes()).hexdigest()
    return {
        "room": "explain",
        "version": _VERSION,
        "weights": model_digest(classifier),
        "architecture": classifier.architecture,
        "preprocessing": repr(classifier.preprocessing),
        "data": [data.training_digest(), data.images("test").digest(), data.seed],
        "answers": answers,
        "seed": inputs.seed,
        "chunk": study.chunk,
        "precision": study.precision,
        "threads": None if cuda else torch.get_num_threads(),
        "device": torch.cuda.get_device_name(study.device) if cuda else study.device.type,
        "torch": torch.__version__,
    }
