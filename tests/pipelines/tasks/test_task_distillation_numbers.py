import numpy as np
import pandas as pd
import pytest

from pipelines.distill_tasks.numbers import accuracy_table, difference_table

KEYS = {"family": "test", "setting": "clean", "severity": 0, "value": 0.0, "attacked": ""}


def rows(model: str, seed: int, task: str, right: list[int]) -> pd.DataFrame:
    answers = {"index": range(len(right)), "correct": right}
    return pd.DataFrame({**answers, "model": model, "seed": seed, "task": task, **KEYS})


def test_means_worst_and_differences_by_hand() -> None:
    one, two = [1, 1, 1, 0] * 10, [1, 0, 0, 1] * 10
    table = pd.concat(
        [
            rows("teacher", 0, "a", [1] * 40), rows("teacher", 0, "b", one),
            *(rows("student", seed, "a", one) for seed in (0, 1)),
            *(rows("student", seed, "b", two) for seed in (0, 1)),
            rows("label only", 0, "a", two), rows("label only", 0, "b", two),
        ]
    )  # fmt: skip
    found = accuracy_table(table).set_index(["model", "task"])["acc"]
    assert found["teacher", "mean"] == pytest.approx(0.875)
    assert found["student", "worst"] == pytest.approx(0.5)
    lines = difference_table(table).set_index(["against", "task"])
    assert lines.loc[("teacher", "a"), "change"] == pytest.approx(-0.25)  # meets both seeds
    assert lines.loc[("teacher", "a"), "seeds"] == 2
    assert lines.loc[("label only", "a"), "change"] == pytest.approx(0.25)
    assert lines.loc[("label only", "a"), "seeds"] == 1  # the only one that both have
    assert lines.loc[("label only", "mean"), "change"] == pytest.approx(0.125)
    assert lines.loc[("label only", "worst"), "change"] == 0
    assert (lines["change_low"] <= lines["change"]).all()


def test_difference_is_bonett_and_prices() -> None:
    """Foreign: the closed form of 2012, written down here."""
    draw = np.random.default_rng(0)
    one, two = draw.integers(0, 2, 50), draw.integers(0, 2, 50)
    table = pd.concat(
        [rows("student", 0, "a", [*two]), rows("teacher", 0, "a", [*one])], ignore_index=True
    )
    (line,) = difference_table(table).to_dict("records")
    gained, lost = int((two > one).sum()) + 1, int((two < one).sum()) + 1
    middle = (gained - lost) / 52
    half = 1.959964 * np.sqrt(((gained + lost) / 52 - middle**2) / 52)
    assert line["change"] == pytest.approx((gained - lost) / 50)
    assert line["change_low"] == pytest.approx(middle - half, abs=1e-6)
    assert line["change_high"] == pytest.approx(middle + half, abs=1e-6)


def test_tasks_of_several_data_sets_have_a_mean() -> None:
    """Equal indices are different images; the mean's ends are the means of the tasks' ends."""
    one, two = [1, 1, 1, 0] * 10, [1, 0, 0, 1] * 10
    table = pd.concat(
        [
            rows(model, seed, task, right).assign(data=task)
            for model, seed in (("student", 0), ("student", 1), ("teacher", 0))
            for task, right in (("a", one), ("b", two if model == "student" else one))
        ]
    )
    found = accuracy_table(table).set_index(["model", "task"])
    ends = ["acc", "acc_low", "acc_high"]
    mean = found.loc[[("student", "a"), ("student", "b")], ends].mean()
    assert [*found.loc[("student", "mean"), ends]] == pytest.approx([*mean])
    assert found.loc[("student", "mean"), "n"] == 80
    lines = difference_table(table).set_index("task")
    assert lines.loc["mean", "change"] == pytest.approx(-0.125)
