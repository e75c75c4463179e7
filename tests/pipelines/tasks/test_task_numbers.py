import math

import pandas as pd
import pytest

from pipelines.tasks.numbers import ITSELF, task_table


def rows(task: str, index: list[int], correct: list[int], attacked: str = "") -> pd.DataFrame:
    return pd.DataFrame({"index": index, "correct": correct}).assign(
        task=task, attacked=attacked, family="test", setting="clean", severity=0, value=0.0, draw=0
    )


def test_what_is_taken_over_the_tasks_by_hand() -> None:
    """Image 4 has no label in b: it counts for a alone."""
    a, b = rows("a", [1, 2, 3, 4], [1, 1, 0, 0]), rows("b", [1, 2, 3], [1, 0, 0])
    found = task_table(pd.concat([a, b])).set_index("task")
    assert found["acc"].to_dict() == pytest.approx(
        {"a": 2 / 4, "b": 1 / 3, "worst": 1 / 3, "mean": 3 / 6, "any": 2 / 3, "joint": 1 / 3}
    )
    assert found["n"].to_dict() == {"a": 4, "b": 3, "worst": 4, "mean": 3, "any": 3, "joint": 3}
    assert (found["acc_low"] < found["acc"]).all()
    assert (found["acc"] < found["acc_high"]).all()
    assert found.loc["worst", "acc_low"] < found.loc["b", "acc_low"]  # whichever is the worst


def test_answers_to_different_perturbations_are_not_joined() -> None:
    parts = [rows("a", [1], [1], ITSELF), rows("b", [1], [1], ITSELF)]
    assert set(task_table(pd.concat(parts))["task"]) == {"a", "b", "worst", "mean"}


def test_of_several_data_sets_the_mean_is_over_the_tasks_and_nothing_is_joined() -> None:
    """Foreign: the squares of both halves, from Wilson's ends as they are published."""
    a = rows("a", [*range(50)], [1] * 40 + [0] * 10).assign(data="one")
    b = rows("b", [*range(20)], [1] * 8 + [0] * 12).assign(data="other")
    found = task_table(pd.concat([a, b])).set_index("task")
    assert found["acc"].to_dict() == pytest.approx({"a": 0.8, "b": 0.4, "worst": 0.4, "mean": 0.6})
    assert found.loc["mean", "n"] == 70
    below, above = (0.8 - 0.6696, 0.4 - 0.2188), (0.8876 - 0.8, 0.6134 - 0.4)
    low, high = (math.hypot(*halves) / 2 for halves in (below, above))
    ends = found.loc["mean", "acc_low"], found.loc["mean", "acc_high"]
    assert ends == pytest.approx((0.6 - low, 0.6 + high), abs=1e-4)  # of four published digits
