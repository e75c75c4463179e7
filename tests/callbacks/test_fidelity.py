import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from callbacks.fidelity import (
    agreement,
    confidence_change,
    copied_errors,
    kept_accuracy,
    kept_accuracy_over,
    kl_to_teacher,
    negative_flips,
)


def rows(prediction: str, label: str, confidence: float = 0.5) -> pd.DataFrame:
    own, true = np.array([*map(int, prediction)]), np.array([*map(int, label)])
    return pd.DataFrame(
        {
            "index": np.arange(len(own)),
            "prediction": own,
            "correct": (own == true).astype(int),
            "confidence": confidence,
        }
    )


LABEL = "0000011111"
TEACHER = rows("0000111110", LABEL, 0.9)  # wrong at 4 and 9
STUDENT = rows("0001111110", LABEL, 0.7)  # wrong at 3 too, and the same at 4 and 9


def test_counts_by_hand() -> None:
    assert agreement(STUDENT, TEACHER).value == 0.9
    assert negative_flips(STUDENT, TEACHER).value == 0.1
    assert negative_flips(TEACHER, STUDENT).value == 0
    assert copied_errors(STUDENT, TEACHER).value == 1
    assert confidence_change(STUDENT, TEACHER).value == pytest.approx(-0.2)


def test_rows_are_joined_by_index() -> None:
    shuffled = STUDENT.sample(frac=1, random_state=0)
    assert agreement(shuffled, TEACHER) == agreement(STUDENT, TEACHER)
    many = [pd.concat([one] * 20).assign(index=range(200)) for one in (STUDENT, TEACHER)]
    assert kept_accuracy(*many).value == pytest.approx(7 / 8)
    assert kept_accuracy(many[0].iloc[:100].sample(frac=1, random_state=0), many[1]).value == (
        pytest.approx(7 / 8)
    )


def test_a_share_of_ten_images_is_not_told() -> None:
    """Seven of ten against eight: between .5 and 1.2, which is no finding."""
    assert np.isnan(kept_accuracy(STUDENT, TEACHER)).all()


def test_what_the_clean_model_gets_wrong_is_not_kept() -> None:
    attacked = [one.assign(clean_correct=0.0) for one in (STUDENT, TEACHER)]
    assert negative_flips(attacked[0], TEACHER).value == 0.8
    assert np.isnan(kept_accuracy(*attacked).value)


def test_the_kept_share_has_its_delta_method_interval() -> None:
    """Of 4,000 paired images Fieller's interval is the delta method's."""
    random = np.random.default_rng(0)
    its = (random.random(4000) < 0.9).astype(int)
    own = np.where(random.random(4000) < 0.1, random.random(4000) < 0.5, its).astype(int)
    frame = {"index": np.arange(4000), "prediction": 0}
    found = kept_accuracy(
        pd.DataFrame({**frame, "correct": own}), pd.DataFrame({**frame, "correct": its})
    )
    ratio = own.mean() / its.mean()
    half = 1.96 * (own - ratio * its).std() / its.mean() / 4000**0.5
    assert found.value == pytest.approx(ratio)
    # One pair more of either kind, and terms of 1/n, are 2 % of the half width.
    assert found.high - found.value == pytest.approx(half, rel=0.02)
    assert found.value - found.low == pytest.approx(half, rel=0.02)


def test_several_students_widen_the_interval_by_their_spread() -> None:
    """Equal students are one; different ones add their variance, with Student's t of so few."""
    random = np.random.default_rng(0)
    its = (random.random(2000) < 0.9).astype(int)
    frame = {"index": np.arange(2000), "prediction": 0}
    teacher = pd.DataFrame({**frame, "correct": its})

    def student(errors: float, seed: int) -> pd.DataFrame:
        flips = np.random.default_rng(seed).random(2000) < errors
        return pd.DataFrame({**frame, "correct": np.where(flips, 0, its)})

    same = kept_accuracy_over([student(0.05, 1)] * 4, teacher)
    alone = kept_accuracy(student(0.05, 1), teacher)
    assert same.value == pytest.approx(alone.value)
    # Of equal students the draws' own noise, one image's variance, comes with t of 3 degrees.
    assert same.high - same.low == pytest.approx(alone.high - alone.low, rel=0.1)
    spread = kept_accuracy_over([student(e, 1) for e in (0.02, 0.05, 0.08, 0.05)], teacher)
    assert spread.high - spread.low > same.high - same.low


def test_nothing_can_be_kept_of_nothing() -> None:
    hopeless = TEACHER.assign(correct=0)
    assert np.isnan(kept_accuracy(STUDENT, hopeless).value)


def test_nothing_kept_has_an_upper_end() -> None:
    many = pd.concat([TEACHER] * 20).assign(index=range(200))
    found = kept_accuracy(many.assign(correct=0), many)
    # Clopper & Pearson for 0 of 200: 1 - 0.025^(1/200), in units of the teacher's 8 of 10
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx((1 - 0.025 ** (1 / 200)) / 0.8, rel=0.25)


def test_students_that_are_their_teacher_keep_all_of_it() -> None:
    many = pd.concat([TEACHER] * 20).assign(index=range(200))
    found = kept_accuracy_over([many, many], many)
    assert found.value == 1
    assert 0.95 < found.low < 1 < found.high < 1.05


def test_divergence_is_scipys() -> None:
    student, teacher = torch.randn(2, 9, 4, dtype=torch.float64)
    expected = entropy(softmax(teacher.numpy(), 1), softmax(student.numpy(), 1), axis=1)
    assert kl_to_teacher(student, teacher).tolist() == pytest.approx(expected.tolist())
