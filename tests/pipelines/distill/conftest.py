"""Distillations out of nothing, and the smallest real ones."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datamodules import Digits
from lightning_modules import Classifier, load_classifier
from pipelines.distill import cell
from pipelines.distill.footprint import Footprint, timed
from pipelines.distill.model import MeasuredModel
from pipelines.distill.result import DistillationResult
from pipelines.report.about import About
from pipelines.tracking import Tracking

MakeResult = Callable[..., DistillationResult]


@pytest.fixture
def teacher(lenet: Path) -> Classifier:
    """The LeNet that knows digits, as the digits are."""
    return load_classifier(f"checkpoint:{lenet}", arch="lenet", preprocessing=Digits.native)


@pytest.fixture(autouse=True)
def _roughly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Medians of many rounds are most of the time that a tiny distillation takes."""
    monkeypatch.setattr(cell, "timed", partial(timed, rounds=1, seconds=0.001))


@pytest.fixture
def quiet(home: Path) -> dict[str, Any]:
    """Options of a distillation of one epoch that measures and logs as little as can be."""
    trainer = {"accelerator": "cpu", "max_epochs": 1, "enable_progress_bar": False}
    return {"evaluation": "none", "tracking": Tracking(enabled=False), "trainer": trainer}


def model(name: str, right: float, size: int, seed: int = 0, n: int = 4000) -> MeasuredModel:
    """A model that is wrong on images which its teacher gets right, until `right` are left."""
    random = np.random.default_rng(7 * seed + size)
    correct = (np.arange(n) < 0.95 * n).astype(int)
    if name != "teacher":
        correct = np.where(random.random(n) < (0.95 - right) / 0.95, 0, correct)
    columns = {
        "index": np.arange(n), "label": 0, "prediction": 1 - correct, "correct": correct,
        "confidence": 0.9, "kl": 0.1 * (1 - correct), "loss": 0.1,
    }  # fmt: skip
    taken = Footprint(size // 4, size, size, 128, 10 * size, 1e-3, 1e5)
    return MeasuredModel(name, seed, pd.DataFrame(columns), taken, f"builtin:{name}", f"{size:x}")


@pytest.fixture(scope="session")
def made_result() -> MakeResult:
    """Makes a result of a teacher, three students and four controls."""

    def make(right: float = 0.93, n: int = 4000, **more: Any) -> DistillationResult:
        models = [
            model("teacher", 0.95, 9_000_000, n=n),
            *(model("student", right, 1_000_000, seed, n) for seed in (0, 1, 2)),
            *(model("label only", 0.85, 1_000_000, 10 + seed, n) for seed in (0, 1, 2)),
            model("pruned teacher", 0.80, 900_000, n=n),
        ]
        names = ("lenet", "lenet_wide")
        facts = [
            {
                "name": name, "source": "", "architecture": f"builtin:{name}", "parameters": 1000,
                "digest": "0" * 16, "classes": ["a", "b"],
            }
            for name in names
        ]  # fmt: skip
        data = {
            "name": "Digits", "title": "Digits", "digest": "e" * 32, "preprocessing": {},
            "splits": {"test": {"samples": n, "digest": "d" * 64}},
        }  # fmt: skip
        # Label-only controls are told from students by their rows, not by their seeds.
        models[4:7] = [MeasuredModel(m.name, m.seed - 10, m.rows, m.footprint) for m in models[4:7]]
        about = About(command="assay distill", models=facts, data=[data], created="2026-01-01")
        settings = {"distillation.loss": "kd", "seeds": [0, 1, 2]}
        return DistillationResult(
            **{"about": about, "models": models, "settings": settings, **more}
        )

    return make
