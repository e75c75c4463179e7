"""Rows of a probe: exact, distinct, sorted."""

import torch

from callbacks.measurement import Setting
from callbacks.outcomes import Outcomes
from callbacks.rows import COST_COLUMNS, OUTCOME_COLUMNS

A, B = Setting("fog", 1, 1.0), Setting("fog", 2, 2.0)


def columns(*index: int) -> dict[str, torch.Tensor]:
    i = torch.tensor(index)
    names = (*OUTCOME_COLUMNS, *COST_COLUMNS, "steps")
    return {
        "index": i,
        **{name: (i / 3).float() for name in names},
        "label": i,
        "correct": i % 2 == 0,
    }


def test_rows_are_distinct_sorted_and_exact() -> None:
    outcomes = Outcomes([A, B], extras=["steps"])
    outcomes.update(B, columns(9, 3))
    outcomes.update(A, columns(2**40 + 1, 0))
    outcomes.update(B, columns(3, 4))  # 3 again: a padding sampler repeats samples
    rows = outcomes.compute()
    assert rows["severity"].tolist() == [1, 1, 2, 2, 2]
    assert rows["index"].tolist() == [0, 2**40 + 1, 3, 4, 9]
    assert rows["label"].tolist() == rows["index"].tolist()
    assert rows["correct"].tolist() == [1, 0, 0, 1, 0]
    assert rows["steps"].tolist()[2:] == (torch.tensor([3, 4, 9]) / 3).double().tolist()
    assert rows["index"].dtype == rows["correct"].dtype == "int64"


def test_no_rows_is_an_empty_table() -> None:
    outcomes = Outcomes([A])
    outcomes.prepare_to_sync()
    assert outcomes.compute().empty
    assert list(Outcomes([A]).compute().columns)[:4] == ["setting", "severity", "value", "index"]
