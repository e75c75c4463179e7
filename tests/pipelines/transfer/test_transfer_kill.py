"""A matrix that is killed at any moment goes on where it was and ends with the same tables."""

import random
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from killing import begun, cells, finished, finished_runs, kept, killed, result_file, same_tables

from pipelines.report.result import load_result


def command(lenet: Path, *more: str) -> list[str]:
    line = (
        f"transfer --models checkpoint:{lenet} lenet --arch lenet none --data Digits "
        "--modes full --fractions 2/class --limit 40 --min_steps 2 --trainer.max_epochs 1 "
        "--trainer.accelerator cpu"
    )
    return [*line.split(), *more]


def tables(home: Path) -> dict[str, pd.DataFrame]:
    made = load_result(result_file(home).parent).tables()
    return {name: table.drop(columns="seconds", errors="ignore") for name, table in made.items()}


def check(home: Path, lenet: Path, before: dict[str, int]) -> set[int]:
    """Compares with a matrix that nobody disturbed, and returns how often a run was made."""
    finished(home, command(lenet))
    finished(home / "undisturbed", command(lenet, "--tracking.enabled", "false"))
    assert len(kept(home, before)) == 6, "2 models x (untouched, full, scores)"
    same_tables(tables(home), tables(home / "undisturbed"))
    made = Counter(run.info.run_name for run in finished_runs(home))
    assert len(made) == 3, "a run for each model below one for all"
    return set(made.values())


@pytest.mark.slow  # the ordinary suite kills recover and explain by the same harness
def test_killed_at_two_random_moments(home: Path, lenet: Path) -> None:
    """Once among the cells, and once while pages are written and runs are logged."""
    chance = random.Random(0)
    few = chance.randint(1, 4)
    assert killed(begun(home, command(lenet)), lambda: len(cells(home)) >= few)
    before = cells(home)
    pages, delay = home / "mlruns" / "results", chance.uniform(0, 0.3)
    drawing = begun(home, command(lenet), drawn=True)
    assert killed(drawing, lambda: any(pages.glob("*/stages/*/report.html")), delay)
    assert check(home, lenet, kept(home, before)) == {1}


@pytest.mark.slow
def test_killed_at_ten_random_moments(home: Path, lenet: Path) -> None:
    chance, count = random.Random(1), 0
    for _ in range(10):
        end = time.monotonic() + chance.uniform(0.2, 4.0)
        process = begun(home, command(lenet), drawn=True)
        count += killed(process, lambda end=end: time.monotonic() > end)
    assert count > 0
    # One that was faster than its end has finished its runs, and the next one makes others.
    assert len(check(home, lenet, cells(home))) == 1
