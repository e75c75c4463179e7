"""`assay assess` hands its engine to the questions that have cells, and to them alone."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from killing import cells

from pipelines.assess import command
from pipelines.assess.presets import AssessmentPreset
from pipelines.assess.result import Assessment
from pipelines.engine import Unit
from pipelines.recover.repair import Effort
from pipelines.report.result import load_result

TINY = AssessmentPreset(
    "nearly nothing",
    {
        "robustness": {"preset": "quick", "probes": ["clean"], "adversarials": 0},
        "recoverability": {
            "severities": [0.5], "draws": 1, "limit": 30, "strategies": ["retrain_last"],
            "effort": Effort(steps=2, images=8, points=1),
        },
        "variability": {"modes": ["probe"], "fractions": ["2/class"], "limit": 30},
        "data": {}, "distillation": {}, "monitorability": {},
    },
    epochs=1,
)  # fmt: skip


def loaded(home: Path) -> Assessment:
    (file,) = (home / "mlruns" / "results").glob("assess-*/result.json")
    result = load_result(file.parent)
    assert isinstance(result, Assessment)
    return result


def test_the_same_answers_by_workers(
    home: Path, assay: Callable[..., tuple[int, str, str]], lenet: Path, here: list[Unit],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(command.PRESETS, "quick", TINY)
    words = (
        f"assess --model checkpoint:{lenet} --arch lenet --data Digits --data.limit 48 "
        "--trainer.accelerator cpu --tracking.enabled false "
        "--questions robustness recoverability variability"
    ).split()
    assert assay(*words, "--root", "alone")[0] == 0
    more = f"--root shared --engine.kind ray --engine.threads {torch.get_num_threads()}"
    assert assay(*words, *more.split())[0] == 0
    names = [unit.name for unit in here]
    assert len(names) == 4 + 2, "before and after damage, controls; untouched and probe"
    assert cells(home / "alone").keys() == cells(home / "shared").keys()
    alone, shared = loaded(home / "alone"), loaded(home / "shared")
    for name, number in alone.headline().items():
        if number.unit == "%":  # others are times
            assert tuple(number.interval) == pytest.approx(
                tuple(shared.headline()[name].interval), nan_ok=True
            )
    grids = [one.answers["variability"].tables()["by_class"] for one in (alone, shared)]
    pd.testing.assert_frame_equal(*grids)
