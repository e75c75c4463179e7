"""Cells that workers measure: the tables of a command without any, whatever becomes of a worker."""

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from killing import cells, result_file, same_tables

from datamodules import UserError
from pipelines import transfer
from pipelines.engine import Engine, Unit, filling
from pipelines.engine.work import WorkerTraceback, _sendable
from pipelines.recover.result import Recoverability
from pipelines.recover.row import OutOfMemoryError
from pipelines.report.result import load_result
from pipelines.study.cells import Cell, Cells
from pipelines.tracking import Tracking
from pipelines.transfer import cell as cell_module

Assay = Callable[..., tuple[int, str, str]]
COMMAND = (
    "transfer --models {} --data Digits --modes probe full --fractions 2/class --limit 40 "
    "--min_steps {} --trainer.max_epochs 1 --trainer.accelerator cpu --tracking.enabled false"
)
REPAIRS = (
    "recover --model lenet --data Digits --data.limit 60 --limit 40 --effort.steps 2 "
    "--effort.images 16 --draws 1 --damage zero --severities 0.4 "
    "--strategies retrain_last --trainer.accelerator cpu --tracking.enabled false"
)
ENGINES = {
    "ray": "--engine.kind ray",
    "submitit": "--engine.kind submitit --engine.cluster local",
}
# Kills its process when it is trained, which is what a lack of memory looks like from outside.
FATAL = """
import os, signal
from torch import nn

class Fatal(nn.Sequential):
    def forward(self, image):
        if self.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(image)

def make():
    return Fatal(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
"""


def command(model: str = "lenet", steps: int = 2, more: str = "") -> list[str]:
    return [*COMMAND.format(model, steps).split(), *more.split()]


def tables(home: Path) -> dict[str, pd.DataFrame]:
    """Every number but times."""
    made = load_result(result_file(home).parent).tables()
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in made.items()}


def repairs(home: Path) -> dict[str, pd.DataFrame]:
    """Every row but times."""
    result = load_result(result_file(home).parent)
    assert isinstance(result, Recoverability)
    curves = result.rows["curve"].str.replace(r'"seconds": [^,]*', "", regex=True)
    return {"repairs": result.rows.drop(columns="seconds").assign(curve=curves)}


def started(home: Path, words: Sequence[str]) -> subprocess.Popen[str]:
    """A command of this checkout in a folder of its own."""
    home.mkdir(exist_ok=True)
    checkout = str(Path(__file__).resolve().parents[3])
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *words], cwd=home, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    return output


def test_workers_make_the_tables_and_keys_of_one_process(
    home: Path, assay: Assay, here: list[Unit]
) -> None:
    torch_threads = torch.get_num_threads()
    assert assay(*command(), "--root", "alone")[0] == 0
    more = f"--root shared --engine.kind ray --engine.threads {torch_threads}".split()
    code, out, _ = assay(*command(), *more)
    assert code == 0
    assert "engine   Ray: 3 to measure by 2 workers" in out
    assert "3/3 lenet" in out
    assert here[0].name.split()[3] == "untouched", "keeps features first"
    same_tables(tables(home / "alone"), tables(home / "shared"))
    assert cells(home / "alone").keys() == cells(home / "shared").keys()
    about = [load_result(result_file(home / root).parent).about for root in ("alone", "shared")]
    assert about[0].notes == about[1].notes, "what a worker has measured is no earlier run's"
    here.clear()
    assert assay(*command(), *more)[0] == 0
    assert not here, "all is there already"
    before = cells(home / "shared")
    assert assay(*command(), *more, "--fresh", "true")[0] == 0
    after = cells(home / "shared")
    assert len(here) == 3
    assert all(after[unit.keys[0]] > before[unit.keys[0]] for unit in here)


def test_repairs_by_workers_are_those_of_one_process(
    home: Path, assay: Assay, here: list[Unit]
) -> None:
    """All of one damaged model in one go; evaluations before and after are logged here."""
    assert assay(*REPAIRS.split(), "--root", "alone")[0] == 0
    more = f"--root shared --engine.kind ray --engine.threads {torch.get_num_threads()}"
    assert assay(*REPAIRS.split(), *more.split())[0] == 0
    assert [unit.name.partition(" ")[2] for unit in here] == [
        "before any damage", "none 0 draw 0", "scratch 0 draw 0", "zero 0.4 draw 0",
    ]  # fmt: skip
    assert cells(home / "alone").keys() == cells(home / "shared").keys()
    same_tables(repairs(home / "alone"), repairs(home / "shared"))
    stages = "mlruns/results/*/stages/*"
    logged = [{one.name for one in (home / root).glob(stages)} for root in ("alone", "shared")]
    assert logged == [{"original", "damaged-zero-0.4", "repaired-zero-0.4-retrain_last"}] * 2


def test_an_error_in_a_worker_is_the_failed_cell_of_one_process(
    home: Path, assay: Assay, here: list[Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def fails(*_: Any) -> None:
        calls.append(1)
        raise RuntimeError("out of luck")

    monkeypatch.setattr(cell_module, "_probed", fails)
    assert assay(*command(), "--root", "alone")[0] == 0
    assert assay(*command(), *"--root shared --engine.kind ray".split())[0] == 0
    assert len(calls) == 2, "it is not tried once more where the tables are made"
    told = [tables(home / root)["cells"] for root in ("alone", "shared")]
    assert list(told[0]["status"]) == ["ok", "failed", "ok"]
    assert list(told[0]["status"]) == list(told[1]["status"])
    assert list(told[0]["error"]) == list(told[1]["error"])


def test_a_network_from_python_reaches_the_workers(home: Path, here: list[Unit]) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    matrices = [
        transfer(
            network, "Digits", limit=40, root=home / kind, engine=Engine(kind),
            trainer={"accelerator": "cpu"}, tracking=Tracking(enabled=False),
        )
        for kind in ("none", "submitit")
    ]  # fmt: skip
    assert len(here) == 2
    alone, shared = (matrix.tables()["by_class"] for matrix in matrices if matrix)
    pd.testing.assert_frame_equal(alone, shared)


def test_what_cannot_be_sent_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match=r"cannot be sent to the workers of `engine.kind` ray"):
        filling.packed(Engine("ray"), print, {"models": threading.Lock()})  # type: ignore[arg-type]


def test_an_error_is_sent_with_where_it_happened() -> None:
    class Strange(Exception):  # noqa: N818
        def __init__(self, one: str, other: str) -> None:
            super().__init__(f"{one} {other}")

    for error, kind in ((ValueError("no"), ValueError), (Strange("a", "b"), RuntimeError)):
        sent = _sendable(error)
        assert type(sent) is kind
        assert isinstance(sent.__cause__, WorkerTraceback)
        assert str(error) in str(sent.__cause__)
    sent = _sendable(OutOfMemoryError({"status": "out of memory", "n": 3}))
    assert isinstance(sent, OutOfMemoryError)
    assert sent.row["n"] == 3, "becomes a row as in one process"


def test_a_store_raises_what_a_worker_has_met(tmp_path: Path) -> None:
    store = Cells(tmp_path)
    store.adopt([], {store.key({"a": 1}): MemoryError("there")})
    with pytest.raises(MemoryError, match="there"):
        store.measured({"a": 1}, lambda _: Cell({}))
    assert store.measured({"a": 2}, lambda _: Cell({"b": 3})).facts == {"b": 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--engine.kind ray --engine.workers 0", "`engine.workers` to be at least 1, but got 0"),
        ("--engine.workers 3", "`engine.workers` without an engine"),
        ("--engine.kind ray --engine.cluster local", "`engine.cluster` is of `engine.kind` subm"),
        ("--engine.kind submitit --engine.address auto", "`engine.address` is of `engine.kind` r"),
    ],
)
def test_options_that_nothing_would_heed_are_refused(assay: Assay, words: str, said: str) -> None:
    code, _, error = assay(*command(), *words.split())
    assert code == 2
    assert said in error


def test_an_engine_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r'pip install "assay\[ray\]"'):
        Engine("ray")


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        for engine, threads in (
            (Engine(), 8),
            (Engine("ray"), 4),
            (Engine("ray", workers=16), 1),
            (Engine("ray", threads=3), 3),
            (Engine("submitit"), 8),  # elsewhere
        ):
            with engine.sharing_cores():
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENGINES)
def test_a_cell_that_kills_every_worker_fails_alone(tmp_path: Path, kind: str) -> None:
    pytest.importorskip(kind, reason=f"the extra `{kind}` is not installed")
    (tmp_path / "fatal.py").write_text(FATAL)
    words = command("python:fatal:make", 2, ENGINES[kind])
    assert "LOST" in ended(started(tmp_path, words))
    told = tables(tmp_path)["cells"]
    lost = told[told["status"] != "ok"]
    assert len(told) == 3
    assert list(lost["mode"]) == ["full"]
    assert "each time that it was tried" in lost["error"].iloc[0]
