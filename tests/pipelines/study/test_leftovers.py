"""What killed processes leave behind, and what is still there of what a cell speaks of."""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipelines.study.cells import Cell, Cells

Assay = Callable[..., tuple[int, str, str]]
_FORK = multiprocessing.get_context("fork")


def work_forever(folder: Path) -> None:
    def work(_: Path) -> Cell:
        time.sleep(600)
        raise AssertionError

    Cells(folder).measured({"who": os.getpid()}, work)


def aged(folder: Path) -> None:
    os.utime(folder, (time.time() - 3600,) * 2)


def test_parts_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    processes = [_FORK.Process(target=work_forever, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    while len(parts := list(tmp_path.glob("*.part/.alive"))) < 2:
        time.sleep(0.01)
    time.sleep(0.2)  # the file is there a moment before its lock
    dead, living = processes
    os.kill(dead.pid or 0, signal.SIGKILL)
    dead.join()
    unlocked = tmp_path / "key.1-of-an-older-version.part"
    unlocked.mkdir()
    for folder in (*(part.parent for part in parts), unlocked):
        aged(folder)
    (tmp_path / "key.2-just-made.part").mkdir()
    rows = pd.DataFrame({"index": [0]})
    cell = Cells(tmp_path).measured({"a": 1}, lambda _: Cell({"b": 2}, rows))
    left = {one.name.split(".")[1].split("-")[0] for one in tmp_path.glob("*.part")}
    living.kill()
    living.join()
    assert left == {str(living.pid), "1", "2"}
    assert cell.folder is not None
    assert {one.name for one in cell.folder.iterdir()} == {"cell.json", "rows.parquet"}


@pytest.mark.slow
def test_weights_that_were_deleted_are_trained_again(assay: Assay, home: Path) -> None:
    words = [
        *("fine-tune", "--model", "lenet", "--data", "Digits", "--data.limit", "40"),
        *("--trainer.max_epochs", "1", "--tracking.enabled", "false"),
    ]
    code, _, err = assay(*words)
    assert code == 0, err
    (weights,) = (home / "mlruns" / "checkpoints").rglob("model.safetensors")
    before = weights.read_bytes()
    shutil.rmtree(weights.parent)
    code, _, err = assay(*words)
    assert code == 0, err
    assert weights.read_bytes() == before
