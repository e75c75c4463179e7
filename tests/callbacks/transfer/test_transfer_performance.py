"""Numbers of rows against scikit-learn, intervals against closed forms and published ones."""

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
    without_images,
)
from callbacks.transfer.macro_average import MacroNumber, macro_average, macro_change
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


def test_what_is_no_answer_is_of_no_class() -> None:
    """Rows of NaN name class 0, as argmax does; scikit-learn is told of one class more."""
    table = rows(0.6)
    silent = table.index[::7]
    table.loc[silent, "prediction"] = 0
    table.loc[silent, ["confidence", "loss"]] = np.nan
    table.loc[silent, "correct"] = 0
    given = table["prediction"].where(table["confidence"].notna(), 4)
    named = {"labels": range(4), "average": "macro", "zero_division": 0.0}
    expected = {
        "precision": precision_score(table["label"], given, **named),
        "recall": recall_score(table["label"], given, **named),
        "f1": f1_score(table["label"], given, **named),
    }
    found = performance([table], 4)
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    classes = class_performance(table, list("abcd"))
    assert classes["precision"].mean() == pytest.approx(expected["precision"])


def test_the_interval_of_accuracy_is_wilsons() -> None:
    table = rows(0.6)
    found = performance([table], 4)["acc"]
    hits = int(table["correct"].sum())
    expected = stats.binomtest(hits, 400).proportion_ci(0.95, "wilson")
    assert found[1:] == pytest.approx((expected.low, expected.high))
    assert performance([table], 4, resamples=1)["acc"].value == found.value
    assert np.isnan(performance([table], 4, resamples=1)["acc"].low)


@pytest.mark.parametrize("number", ["precision", "recall", "f1"])
def test_macro_averages_vary_as_their_interval_says(number: MacroNumber) -> None:
    """The delta method against a bootstrap of scikit-learn's own number, over 600 images."""
    table = rows(0.6, n=600)
    own = macro_average([table], number)
    random = np.random.default_rng(0)
    score = {"precision": precision_score, "recall": recall_score, "f1": f1_score}[number]
    drawn = [table.iloc[random.integers(0, 600, 600)] for _ in range(300)]
    bootstrap = np.std([score(t["label"], t["prediction"], average="macro") for t in drawn])
    # 300 resamples give a standard deviation to 4 %
    assert own.variance**0.5 == pytest.approx(bootstrap, rel=0.12)
    found = own.interval()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * bootstrap, rel=0.12)


def test_a_perfect_classifier_has_an_interval_of_one_side() -> None:
    """Forty images of four classes: not [.7, 1], and not [1, 1]."""
    label = np.arange(40) % 4
    table = rows(1.0, n=40).assign(label=label, prediction=label, correct=1)
    for name in ("acc", "precision", "recall", "f1"):
        found = performance([table], 4)[name]
        assert (found.value, found.high) == (1, 1)
        assert 0.83 < found.low < 0.93, name
    change = performance_change([table], [table], 4)
    for name in ("acc", "precision", "recall", "f1"):
        assert change[name].low < change[name].value == 0 < change[name].high


def test_a_rare_class_keeps_its_doubt() -> None:
    """Of 400 images one class has two: right both times, its recall may still be a half."""
    label = np.repeat([0, 1], [398, 2])
    table = rows(1.0).assign(label=label, prediction=label, correct=1)
    found = performance([table], 2)["recall"]
    # Clopper & Pearson's lower end for 2 of 2 is .158; half of what lacks to 1
    assert found.low == pytest.approx(1 - (1 - 0.025**0.5) / 2, abs=0.01)


def test_macro_change_of_one_class_is_newcombes() -> None:
    """Published for 161 patients (Cavo et al. 2012; Fagerland, Lydersen & Laake, 2014)."""
    before, after = np.repeat([[0, 0, 1, 1], [0, 1, 0, 1]], [59, 6, 16, 80], axis=1)
    own, its = (
        macro_average(
            [pd.DataFrame({"label": 0, "prediction": wrong, "confidence": 1.0})], "recall"
        )
        for wrong in (before, after)
    )
    found = macro_change(own, its)
    assert found == pytest.approx((0.0621, 0.0046, 0.1186), abs=5e-5)


def test_changes_are_paired() -> None:
    before, after = rows(0.5), rows(0.9, seed=1)
    same = performance_change([before], [before], 4)
    for name in NUMBERS:
        assert same[name].value == 0
        assert np.isnan(same[name].low) or same[name].low <= 0 <= same[name].high
    assert same["f1"].high < 0.02, "what is the same cancels"
    found = performance_change([before], [after], 4)
    assert found["acc"].value == pytest.approx(after["correct"].mean() - before["correct"].mean())
    assert found["acc"].low > 0
    assert found["f1"].low > 0
    with pytest.raises(UserError, match="same test images"):
        performance_change([before], [after[:300]], 4)


def test_seeds_average() -> None:
    tables = [rows(0.6, seed=seed) for seed in range(3)]
    alone = [performance([table], 4)["f1"] for table in tables]
    found = performance(tables, 4)["f1"]
    assert found.value == pytest.approx(np.mean([one.value for one in alone]))
    assert found.high - found.low < alone[0].high - alone[0].low, "seeds average out"
    thrice = performance([tables[0]] * 3, 4)["f1"]
    assert thrice == pytest.approx(alone[0], abs=1e-6), "the same seed thrice tells nothing more"


def test_a_class_that_is_absent_or_never_answered() -> None:
    table = rows(0.5, classes=3)
    table.loc[table["prediction"] == 2, "prediction"] = 1
    found = performance([table], 5)
    expected = recall_score(table["label"], table["prediction"], average="macro", zero_division=0)
    assert found["recall"].value == pytest.approx(expected)
    assert np.isfinite([end for one in found.values() for end in one]).all()
    classes = class_performance(table, list("abcde"))
    assert classes["n"].tolist()[3:] == [0, 0]
    assert classes[["recall", "f1"]].iloc[3:].isna().all(axis=None)
    told = without_images(table, list("abcde"))
    assert told is not None
    assert told.startswith("2 of 5 classes have no test image (d, e)")
    assert without_images(table, list("abc")) is None


def test_infinite_losses_are_left_out() -> None:
    table = rows(0.5)
    table.loc[0, "loss"] = np.inf
    assert performance([table], 4)["loss"].value == pytest.approx(table["loss"][1:].mean())


def test_weighted_tau_is_scipys_and_knows_when_it_knows_nothing() -> None:
    random = np.random.default_rng(0)
    truth = np.sort(random.uniform(50, 99, 12))
    score = truth + random.normal(0, 10, 12)
    found = weighted_tau(score, truth)
    assert found.value == pytest.approx(stats.weightedtau(truth, score).statistic)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert np.isnan(weighted_tau([1, 2], [1, 2])).all()
    assert np.isnan(weighted_tau([1, 1, 1], [1, 2, 3]).value)
    # five models, or models whose ranks never change: a number, but nothing to doubt it by
    for few in (weighted_tau([1, 2, 3, 5, 4], [1, 2, 3, 4, 5]), weighted_tau(truth, truth)):
        assert few.value > 0.5
        assert np.isnan(few[1:]).all()
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
    expected = stats.ttest_1samp([0.85, 0.5, 0.7], 0).confidence_interval()
    assert found.average[1:] == pytest.approx((expected.low, expected.high))
    assert np.isnan(variability({"a": [0.5]}).spread)
