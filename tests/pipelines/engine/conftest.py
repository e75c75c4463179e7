"""An engine whose workers are this process."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine import Engine, Unit, filling
from pipelines.engine.work import Done, measure


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Unit]:
    """The units that it was given, last ones measured first; pages are not drawn."""
    given: list[Unit] = []

    def working(_: Engine, order: Path, units: Sequence[Unit], *__: Any) -> Iterator[Done]:
        given.extend(units)
        return (measure(order, unit.number) for unit in reversed(units))

    monkeypatch.setattr(filling, "_working", working)
    monkeypatch.setattr("pipelines.study.study.write_page", lambda results, file: file)
    monkeypatch.setattr("pipelines.study.study.save_png", lambda figure, file: None)
    return given
