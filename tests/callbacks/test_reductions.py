"""Numbers out of rows, on tables small enough to reckon by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from callbacks.reductions import by_setting, compare, per_class, worst_case


def rows(correct: list[int], value: float = 0.1, index: list[int] | None = None) -> pd.DataFrame:
    n = len(correct)
    hits = np.array(correct)
    return pd.DataFrame(
        {
            "setting": "pgd_linf",
            "severity": round(1000 * value),
            "value": value,
            "index": index or range(n),
            "label": np.arange(n) % 2,
            "prediction": np.where(hits == 1, np.arange(n) % 2, 1 - np.arange(n) % 2),
            "loss": 1.0 - hits * 0.5,
            "worst_loss": 2.0 - hits,
            "confidence": 0.6 + 0.3 * hits,
            "margin": hits * 2.0 - 1,
            "brier": 0.5,
            "correct": hits,
        }
    )


def test_by_setting() -> None:
    table = by_setting(pd.concat([rows([1, 0, 1, 1], 0.2), rows([1, 1, 1, 1], 0.1)]))
    assert table["value"].tolist() == [0.1, 0.2]
    assert table["acc"].tolist() == [1.0, 0.75]
    assert table["n"].tolist() == [4, 4]
    assert table["worst_loss"].tolist() == [1.0, 1.25]
    part = rows([1, 0, 1, 1], 0.2)
    assert table["acc"][1] == accuracy_score(part["label"], part["prediction"])
    assert table["error_auroc"][1] == 1.0
    assert (table["acc_low"] < table["acc"]).all()


def test_worst_case_is_pointwise_not_the_smallest_average() -> None:
    worst = worst_case([rows([1, 0, 1, 1]), rows([0, 1, 1, 1])])
    assert worst["correct"].tolist() == [0, 0, 1, 1]  # 50 %, though either attack alone leaves 75 %
    assert worst["worst_loss"].tolist() == [2.0, 2.0, 1.0, 1.0]


def test_worst_case_of_other_samples_is_refused_by_leaving_them_out() -> None:
    worst = worst_case([rows([1, 1, 1], index=[5, 6, 7]), rows([0, 1], index=[6, 7])])
    assert worst["index"].tolist() == [6, 7]
    assert worst["correct"].tolist() == [0, 1]


def test_worst_case_of_what_is_no_attack() -> None:
    tables = [rows(hits).drop(columns="worst_loss") for hits in ([1, 0, 1], [1, 1, 0])]
    assert worst_case(tables)["correct"].tolist() == [1, 0, 0]


def test_per_class() -> None:
    table = per_class(rows([1, 0, 1, 1]), ["cat", "dog"])
    assert dict(zip(table["class"], table["acc"], strict=True)) == {"cat": 1.0, "dog": 0.5}


def test_compare_joins_on_the_index() -> None:
    one = rows([1] * 10, index=list(range(10)))
    other = rows([0] * 5 + [1] * 5, index=list(range(9, -1, -1)))
    (line,) = compare(one, other).to_dict("records")
    assert line["n"] == 10
    assert line["difference"] == -0.5
    assert line["p"] == pytest.approx(2 * 0.5**5)
    assert line["low"] < -0.5 < line["high"] <= 0


def test_no_rows_is_an_empty_table() -> None:
    assert by_setting(rows([])).empty
    assert compare(rows([1]), rows([1], value=0.3)).empty


def test_draws_are_averaged_before_models_are_compared() -> None:
    """Draws of two models are not pairs: image by image, means are."""
    one = pd.concat([rows([1, 0, 1, 1], 0.2).assign(draw=i) for i in range(3)])
    other = pd.concat([rows([1, 1, 1, 0], 0.2).assign(draw=i) for i in range(3)])
    table = compare(one, other)
    assert table["n"].tolist() == [4]
    assert table["difference"].tolist() == [0.0]


def test_draws_meet_the_same_images() -> None:
    """Five draws of the same answers tell no more about other images than one of them."""
    random = np.random.default_rng(0)
    one = rows(random.integers(0, 2, 60).tolist()).assign(
        confidence=random.uniform(0.5, 1, 60), loss=random.exponential(size=60)
    )
    alone = by_setting(one)
    five = by_setting(pd.concat([one.assign(draw=i) for i in range(5)]))
    for number in ("acc", "loss", "ece", "error_auroc"):
        width, of_five = (
            float(table[f"{number}_high"][0] - table[f"{number}_low"][0]) for table in (alone, five)
        )
        # t of 59 degrees of freedom for the normal's quantile, and another resampling
        assert of_five == pytest.approx(width, rel=0.15), number


def test_doubtful_ends_are_named() -> None:
    table = rows([1] * 40).assign(loss=np.where(np.arange(40) == 0, 9.0, 0.1))
    assert "loss: one value" in by_setting(table)["marks"][0]
    assert "acc" not in by_setting(table)["marks"][0]


def test_ends_of_few_draws_are_cut_at_what_a_number_can_be() -> None:
    draws = [rows([int(i % (3 + draw) > 0) for i in range(40)]) for draw in range(2)]
    draws = [one.assign(draw=i, loss=0.01 + 5.0 * i, brier=1.9 * i) for i, one in enumerate(draws)]
    line = by_setting(pd.concat(draws).drop(columns="worst_loss")).iloc[0]
    for name, most in (("loss", np.inf), ("brier", 2.0), ("ece", 1.0), ("error_auroc", 1.0)):
        assert 0 <= line[f"{name}_low"] <= line[name] <= line[f"{name}_high"] <= most
