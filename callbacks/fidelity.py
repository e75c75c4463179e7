"""How far a student is its teacher: over rows of both, joined on the sample index."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from callbacks.statistics import NOTHING, Interval, crossed_mean, mean, rate


def agreement(student: pd.DataFrame, teacher: pd.DataFrame) -> Interval:
    """Share of samples on which both predict the same class (Stanton et al. 2021, 2106.05945)."""
    both = _joined(student, teacher)
    return rate(int((both["prediction"] == both["prediction_teacher"]).sum()), len(both))


def negative_flips(student: pd.DataFrame, teacher: pd.DataFrame) -> Interval:
    """Share of samples only the teacher gets right (Yan et al. 2021, 2011.09161)."""
    both = _joined(student, teacher)
    return rate(int(((both["correct"] == 0) & (both["correct_teacher"] == 1)).sum()), len(both))


def copied_errors(student: pd.DataFrame, teacher: pd.DataFrame) -> Interval:
    """Share of the teacher's errors that the student makes with the same wrong class."""
    both = _joined(student, teacher)
    errors = both.loc[both["correct_teacher"] == 0]
    return rate(int((errors["prediction"] == errors["prediction_teacher"]).sum()), len(errors))


def confidence_change(student: pd.DataFrame, teacher: pd.DataFrame) -> Interval:
    """Mean of student's minus teacher's confidence where both are right, in [-1, 1]."""
    both = _joined(student, teacher)
    right = both.loc[(both["correct"] == 1) & (both["correct_teacher"] == 1)]
    return mean(right["confidence"] - right["confidence_teacher"])


def kept_accuracy(
    student: pd.DataFrame,
    teacher: pd.DataFrame,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Interval:
    """The student's accuracy in units of its teacher's, with a paired bootstrap interval.

    Args:
        student: rows of one setting, `index` and `correct`.
        teacher: rows of the same setting; samples that not both have are left out.
        level: of the interval.
        seed: of the resampling.
        resamples: how many.

    Returns:
        A ratio >= 0, possibly above 1; NaN where the teacher has nothing right.
    """
    both = _joined(student, teacher)
    own, its = both["correct"].to_numpy(), both["correct_teacher"].to_numpy()
    if not its.sum():
        return NOTHING
    if not own.sum():  # no resample could show another number than 0
        return Interval(0.0, 0.0, rate(0, len(own), level).high / float(its.mean()))
    # How often each of the four outcomes of an image is drawn is all that a resample can show.
    counts = np.bincount(2 * own + its, minlength=4)
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(len(both), counts / len(both), resamples)
    right, teachers = drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3]
    ratios = right[teachers > 0] / teachers[teachers > 0]
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(own.sum() / its.sum()), float(low), float(high))


def kept_accuracy_over(students: Sequence[pd.DataFrame], teacher: pd.DataFrame) -> Interval:
    """The mean accuracy of several students of one teacher in units of its own.

    Of several, the interval covers other students and other images: the ratio r of the means is
    linearised, so that its error is that of the mean of own - r · teacher's (delta method).

    Args:
        students: rows of one setting each, of the same samples.
        teacher: rows of the same setting.
    """
    if len(students) == 1:
        return kept_accuracy(students[0], teacher)
    tables = [_joined(one, teacher).sort_values("index") for one in students]
    own = np.stack([one["correct"].to_numpy(float) for one in tables])
    its = tables[0]["correct_teacher"].to_numpy(float)
    if not its.sum():
        return NOTHING
    ratio = own.mean() / its.mean()
    error = crossed_mean(own - ratio * its - 1.0)  # below 0, so that no end is cut off
    shifts = (ratio + (end + 1.0) / its.mean() for end in error)
    return Interval(*(float(end) for end in shifts))


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of each sample in nats, `(N,)` >= 0 up to rounding.

    Args:
        student: logits `(N, K)`.
        teacher: logits `(N, K)` for the same samples.
    """
    own, its = F.log_softmax(student, 1), F.log_softmax(teacher, 1)
    return F.kl_div(own, its, reduction="none", log_target=True).sum(1)


def _joined(student: pd.DataFrame, teacher: pd.DataFrame) -> pd.DataFrame:
    columns = [name for name in ("index", "prediction", "correct", "confidence") if name in teacher]
    return student.merge(teacher[columns], on="index", suffixes=("", "_teacher"))
