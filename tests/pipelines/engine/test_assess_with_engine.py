"""`assay assess` hands its engine to the questions that have cells, and to them alone."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from datamodules import UserError
from pipelines.assess import work
from pipelines.engine import Engine, Unit


def test_questions_with_cells_get_the_engine(
    assay: Callable[..., tuple[int, str, str]], lenet: Path, here: list[Unit],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    handed: dict[str, Engine | None] = {}

    def answer(name: str, _: Any, __: Any, options: Mapping[str, Any]) -> None:
        handed[name] = options.get("engine")
        raise UserError("not now")

    monkeypatch.setattr(work, "answer", answer)
    words = (
        f"assess --model checkpoint:{lenet} --arch lenet --data Digits --data.limit 48 "
        "--trainer.accelerator cpu --tracking.enabled false --engine.kind ray --engine.threads 1"
    )
    assert assay(*words.split())[0] == 1
    assert not here
    assert len(handed) == 6
    with_cells = {"recoverability", "variability", "distillation"}
    assert {name for name, engine in handed.items() if engine is not None} == with_cells
    assert handed["recoverability"] == Engine("ray", threads=1)
