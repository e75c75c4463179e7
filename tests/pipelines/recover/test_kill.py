"""A recovery that is killed at any moment goes on where it was and ends with the same table."""

from pathlib import Path

import pandas as pd
import pytest
from killing import goes_on, result_file

from pipelines.recover.result import Recoverability
from pipelines.report.result import load_result


def tables(home: Path) -> dict[str, pd.DataFrame]:
    result = load_result(result_file(home).parent)
    assert isinstance(result, Recoverability)
    curves = result.rows["curve"].str.replace(r'"seconds": [^,]*', "", regex=True)
    return {"repairs": result.rows.drop(columns="seconds").assign(curve=curves)}


def words(lenet: Path, *more: str) -> list[str]:
    return [
        *("recover", "--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"),
        *("--data.limit", "100", "--limit", "50", "--effort.steps", "3", "--effort.images", "16"),
        *("--draws", "2", *more),
    ]


@pytest.mark.slow
def test_killed_at_two_random_moments(home: Path, lenet: Path) -> None:
    asked = words(lenet, "--severities", "0.6", "--strategies", "retrain_last")
    goes_on(home, asked, 2, tables)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_ten_random_moments(home: Path, lenet: Path) -> None:
    asked = words(
        lenet, "--damage", "label_noise", "--severities", "0.2", "0.4",
        "--strategies", "retrain_last", "mend",
    )  # fmt: skip
    goes_on(home, asked, 10, tables)
