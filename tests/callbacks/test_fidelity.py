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
    assert kept_accuracy(STUDENT, TEACHER).value == pytest.approx(7 / 8)


def test_rows_are_joined_by_index() -> None:
    shuffled = STUDENT.sample(frac=1, random_state=0)
    assert agreement(shuffled, TEACHER) == agreement(STUDENT, TEACHER)
    assert kept_accuracy(STUDENT.iloc[:5], TEACHER).value == pytest.approx(3 / 4)


def test_the_kept_share_has_its_delta_method_interval() -> None:
    """Of 4,000 paired images the bootstrap is the delta method's normal interval."""
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
    # 2,000 resamples leave about 3 % of uncertainty in each end.
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)


def test_several_students_widen_the_interval_by_their_spread() -> None:
    """Equal students are one with Student's t; different ones add their variance."""
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
    # t of 3 degrees of freedom against the normal: 3.18 / 1.96
    ratio = (same.high - same.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(3.182 / 1.96, rel=0.1)
    spread = kept_accuracy_over([student(e, 1) for e in (0.02, 0.05, 0.08, 0.05)], teacher)
    assert spread.high - spread.low > same.high - same.low


def test_nothing_can_be_kept_of_nothing() -> None:
    hopeless = TEACHER.assign(correct=0)
    assert np.isnan(kept_accuracy(STUDENT, hopeless).value)


def test_nothing_kept_has_an_upper_end() -> None:
    found = kept_accuracy(STUDENT.assign(correct=0), TEACHER)
    # Clopper & Pearson for 0 of 10: 1 - 0.025^(1/10), in units of the teacher's 8 of 10
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx((1 - 0.025**0.1) / 0.8)


def test_divergence_is_scipys() -> None:
    student, teacher = torch.randn(2, 9, 4, dtype=torch.float64)
    expected = entropy(softmax(teacher.numpy(), 1), softmax(student.numpy(), 1), axis=1)
    assert kl_to_teacher(student, teacher).tolist() == pytest.approx(expected.tolist())
