"""An assessment that is killed at any moment goes on where it was and ends with the same rows."""

import os
import random
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from killing import begun, finished, finished_runs, killed, same_tables

from pipelines.report.result import load_result

_ASKED = 6
"""The five questions, and the data before them."""
_KILLS = int(os.environ.get("ASSAY_KILLS", "30"))


def result_of(home: Path) -> Path:
    (file,) = (home / "mlruns" / "results").glob("assess-*/result.json")
    return file.parent


def rows(home: Path) -> dict[str, pd.DataFrame]:
    """Everything that was measured, without times."""
    found = load_result(result_of(home)).parts().rows
    return {name: without_times(table) for name, table in found.items()}


def without_times(table: pd.DataFrame) -> pd.DataFrame:
    kept = table.drop(columns=[name for name in table if "seconds" in str(name)])
    if "curve" in kept:
        kept["curve"] = kept["curve"].str.replace(r'"seconds": [^,}]*', "", regex=True)
    return kept


def check(home: Path, questions: int) -> None:
    """Compares with an assessment that nobody disturbed."""
    same_tables(rows(home), rows(home / "undisturbed"))
    made = finished_runs(home)
    assert set(Counter(run.info.run_name for run in made).values()) == {1}, "no run is there twice"
    above = {run.info.run_id: run.data.tags.get("mlflow.parentRunId") for run in made}
    (whole,) = [run for run in made if run.data.tags["question"] == "assessment"]
    assert [run for run, parent in above.items() if parent is None] == [whole.info.run_id]
    assert set(above.values()) <= {None, *above}
    assert list(above.values()).count(whole.info.run_id) == questions
    metrics = load_result(result_of(home)).headline()
    logged = {key for key in whole.data.metrics if not key.endswith(("_low", "_high"))}
    assert logged <= {f"summary/{name}" for name in metrics}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_quick_assessment_killed_at_thirty_random_moments(home: Path) -> None:
    killed_at(home, ["assess"], _ASKED)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_questions_killed_at_thirty_random_moments(home: Path, lenet: Path) -> None:
    line = (
        f"assess --model checkpoint:{lenet} --arch lenet --data Digits --data.limit 100 "
        "--questions robustness variability"
    )
    killed_at(home, line.split(), 2)


def files(home: Path) -> int:
    """How many there are; folders that the process deletes meanwhile are passed by."""
    return sum(len(names) for _, _, names in os.walk(home / "mlruns"))


def killed_at(home: Path, words: list[str], questions: int) -> None:
    """Kills `_KILLS` times, each at most a third of the work after it has begun to write."""
    start = time.monotonic()
    finished(home / "undisturbed", [*words, "--tracking.enabled", "false"])
    longest = (time.monotonic() - start) / 3
    chance, kills = random.Random(2), 0
    for _ in range(_KILLS):
        before = files(home)
        process = begun(home, words, drawn=True)
        works = lambda before=before: files(home) != before  # noqa: E731
        kills += killed(process, works, chance.uniform(0, longest))
        if process.exitcode == 0:
            break
    assert kills > 0
    if process.exitcode != 0:
        finished(home, words)
    print(f"{kills} kills")
    check(home, questions)
