"""What every test may lean on."""

import importlib.util
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: xdist has a worker on every core

import pytest
import torch
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipelines.report import figures

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def _as_module(file: Path) -> None:
    """Loads a file as a module of its own, because tests are no package.

    `python:odd_networks:NAME` and pickles find it by this name.
    """
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)


_as_module(Path(__file__).with_name("odd_networks.py"))
_as_module(Path(__file__).with_name("masked_networks.py"))
for _name in (
    *("killing", "flag_lines", "flag_lines_of_trainings", "flag_lines_of_questions"),
    *("flag_lines_of_readers", "flag_outcome", "flags_not_walked"),
):
    _as_module(Path(__file__).with_name("pipelines") / f"{_name}.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test with an argument `odd` over the table of odd networks, by name.

    `@pytest.mark.odd(where=CONDITION)` runs it over those of which the condition is true.
    """
    if "odd" in metafunc.fixturenames:
        conditions = [mark.kwargs["where"] for mark in metafunc.definition.iter_markers("odd")]
        table = sys.modules["odd_networks"].ODD
        chosen = [odd for odd in table if all(is_met(odd) for is_met in conditions)]
        metafunc.parametrize("odd", chosen, ids=str)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project, or a skip that says what is missing."""
    if not SHARED.is_dir():
        pytest.skip("real data not present: expected ../shared/data beside the project")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk() -> None:
    """SQLite waits until a store is safe from a power cut, which no test asks for."""

    @event.listens_for(Engine, "connect")
    def _(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            with suppress(sqlite3.DatabaseError):  # a test's file that is no database
                connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(autouse=True, scope="module")
def _coarse_figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures of tests have few pixels and no places sought for letters; these cost much time.

    `pytestmark = pytest.mark.figures` leaves those of a module as users see them.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("figures") is None:
            patch.setattr(figures, "DOTS_PER_INCH", 40)
            patch.setattr(figures, "_lay_out", lambda figure: figure.set_layout_engine("none"))
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_thread_count() -> None:
    """Kernels round differently for different thread counts; tiny models are fastest with one."""
    torch.set_num_threads(1)
