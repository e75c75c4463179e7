"""Numbers of rows against scikit-learn, intervals against closed forms."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from callbacks.statistics import ece
from callbacks.transfer import (
    NUMBERS,
    class_performance,
    performance,
    performance_change,
    rank_intervals,
    variability,
    weighted_tau,
)
from datamodules import UserError


def rows(skill: float, n: int = 400, classes: int = 4, seed: int = 0) -> pd.DataFrame:
    """Answers of a make-believe model to the same labels; skill is its share of known answers."""
    label = np.random.default_rng(9).integers(classes, size=n)
    random = np.random.default_rng(seed)
    prediction = np.where(random.random(n) < skill, label, random.integers(classes, size=n))
    return pd.DataFrame(
        {
            "index": np.arange(n), "label": label, "prediction": prediction,
            "correct": (prediction == label).astype(int), "confidence": random.uniform(0.3, 1, n),
            "loss": random.exponential(1.0, n),
        }
    )  # fmt: skip


def test_numbers_equal_scikit_learns() -> None:
    table = rows(0.6).sample(frac=1, random_state=0)
    found = {name: one.value for name, one in performance([table], 4).items()}
    label, prediction = table["label"], table["prediction"]
    expected = {
        "acc": accuracy_score(label, prediction),
        "precision": precision_score(label, prediction, average="macro"),
        "recall": recall_score(label, prediction, average="macro"),
        "f1": f1_score(label, prediction, average="macro"),
        "ece": ece(table["confidence"], table["correct"]),
        "loss": table["loss"].mean(),
    }
    assert found == pytest.approx(expected)
    classes = class_performance(table, list("abcd"))
    assert classes["f1"].mean() == pytest.approx(expected["f1"])
    assert classes["n"].sum() == 400


def test_the_interval_of_accuracy_is_as_wide_as_the_binomials() -> None:
    found = performance([rows(0.6)], 4, resamples=2000)["acc"]
    half = 1.96 * (found.value * (1 - found.value) / 400) ** 0.5
    # 2,000 resamples give the end of a 95 % interval to about 5 % of its half width.
    assert found.high - found.value == pytest.approx(half, rel=0.15)
    assert found.value - found.low == pytest.approx(half, rel=0.15)


def test_changes_are_paired() -> None:
    before, after = rows(0.5), rows(0.9, seed=1)
    same = performance_change([before], [before], 4)
    assert all(tuple(same[name]) == (0, 0, 0) for name in NUMBERS)
    found = performance_change([before], [after], 4)
    assert found["acc"].value == pytest.approx(after["correct"].mean() - before["correct"].mean())
    assert found["acc"].low > 0
    assert found["f1"].low > 0
    with pytest.raises(UserError, match="same test images"):
        performance_change([before], [after[:300]], 4)


def test_seeds_average() -> None:
    tables = [rows(0.6, seed=seed) for seed in range(3)]
    alone = [performance([table], 4)["f1"].value for table in tables]
    assert performance(tables, 4)["f1"].value == pytest.approx(np.mean(alone))


def test_a_class_that_is_absent_or_never_answered() -> None:
    table = rows(0.5, classes=3)
    table.loc[table["prediction"] == 2, "prediction"] = 1
    found = performance([table], 5)
    expected = recall_score(table["label"], table["prediction"], average="macro", zero_division=0)
    assert found["recall"].value == pytest.approx(expected)
    assert np.isfinite([end for one in found.values() for end in one]).all()


def test_infinite_losses_are_left_out() -> None:
    table = rows(0.5)
    table.loc[0, "loss"] = np.inf
    assert performance([table], 4)["loss"].value == pytest.approx(table["loss"][1:].mean())


def test_weighted_tau_is_scipys_and_knows_when_it_knows_nothing() -> None:
    score, truth = [0.1, 0.4, 0.2, 0.9, 0.7], [50, 70, 60, 95, 96]
    found = weighted_tau(score, truth)
    assert found.value == pytest.approx(stats.weightedtau(truth, score).statistic)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert weighted_tau(truth, truth).value == pytest.approx(1)
    assert np.isnan(weighted_tau([1, 2], [1, 2])).all()
    assert np.isnan(weighted_tau([1, 1, 1], [1, 2, 3]).value)
    assert weighted_tau([1, 2, 3, np.nan], [1, 2, 3, 4]).value == pytest.approx(1)


def test_ranks_are_certain_where_models_differ() -> None:
    random = np.random.default_rng(0)
    good, twin, bad = (random.random(1000) < share for share in (0.9, 0.9, 0.3))
    first, second, third = rank_intervals([good, twin, bad])
    assert tuple(third) == (3, 3, 3)
    assert {first.value, second.value} == {1, 2}
    assert (first.low, first.high) == (1, 2)


def test_variability_indices() -> None:
    found = variability({"a": [0.9, 0.8], "b": [0.5, 0.5], "c": [0.7, 0.7]})
    assert (found.worst_task, found.worst) == ("b", 0.5)
    assert found.average.value == pytest.approx((0.85 + 0.5 + 0.7) / 3)
    assert found.spread == pytest.approx(np.std([0.85, 0.5, 0.7], ddof=1))
    assert found.seed_spread == pytest.approx((0.005 / 3) ** 0.5)
    assert np.isnan(variability({"a": [0.5]}).spread)
