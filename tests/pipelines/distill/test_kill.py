"""A distillation that is killed at any moment goes on where it was and ends with the same table."""

from pathlib import Path

import pandas as pd
import pytest
from killing import goes_on, result_file, runs, store

_TIMES = ["latency", "throughput"]


def words(lenet: Path, *more: str) -> list[str]:
    return [
        *("distill", "--teacher", f"checkpoint:{lenet}", "--arch", "lenet", "--student", "lenet"),
        *("--data", "Digits", "--data.limit", "40", "--chunk", "32", "--trainer.max_epochs", "1"),
        *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", *more),
    ]


def tables(home: Path) -> dict[str, pd.DataFrame]:
    files = (result_file(home).parent / "tables").glob("*.json")
    read = {file.stem: pd.read_json(file, orient="split") for file in files}
    return {name: table.drop(columns=_TIMES, errors="ignore") for name, table in read.items()}


def curves_are_whole(home: Path) -> None:
    for run in runs(home):
        history = store(home).get_metric_history(run.info.run_id, "train/loss")
        steps = [point.step for point in history]
        assert len(set(steps)) == len(steps), "no point of a curve is there twice"


@pytest.mark.slow  # the ordinary suite kills recover and explain by the same harness
def test_killed_at_two_moments(home: Path, lenet: Path) -> None:
    goes_on(home, words(lenet, "--evaluation", "none", "--controls", "int8"), 2, tables)
    curves_are_whole(home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_ten_moments(home: Path, lenet: Path) -> None:
    controls = ("--controls", "label_only", "pruned", "int8")
    goes_on(home, words(lenet, "--seeds", "0", "1", *controls), 10, tables)
    curves_are_whole(home)
