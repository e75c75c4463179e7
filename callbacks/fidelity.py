"""How far a student is its teacher: over rows of both, joined on the sample index."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from callbacks.statistics import (
    NOTHING,
    Interval,
    crossed_mean,
    mean,
    rate,
    ratio,
    worth_telling,
)
from callbacks.worst_case import robustly_correct
from lightning_modules.distillation.soft_targets import divergence


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
    return mean(right["confidence"] - right["confidence_teacher"], bounds=(-1.0, 1.0))


def kept_accuracy(student: pd.DataFrame, teacher: pd.DataFrame, level: float = 0.95) -> Interval:
    """The student's accuracy in units of its teacher's, where that says anything.

    Args:
        student: rows of one setting, `index` and `correct`.
        teacher: rows of the same setting; samples that not both have are left out.
        level: of the interval.

    Returns:
        A ratio >= 0, possibly above 1, with its interval over images (see `ratio`); `NOTHING` where
        the teacher has next to nothing right, or the interval is too wide to be told.
    """
    both = _joined(student, teacher)
    return ratio(both["correct"], both["correct_teacher"], level)


def kept_accuracy_over(students: Sequence[pd.DataFrame], teacher: pd.DataFrame) -> Interval:
    """The mean accuracy of several students of one teacher in units of its own.

    Of several, the interval covers other students and other images: the ratio r of the means is
    linearised, so that its error is that of the mean of own - r · teacher's (delta method).

    Args:
        students: rows of one setting each, of the same samples.
        teacher: rows of the same setting.

    Returns:
        See `kept_accuracy`; both may say `NOTHING`.
    """
    if len(students) == 1:
        return kept_accuracy(students[0], teacher)
    tables = [_joined(table, teacher).sort_values("index") for table in students]
    own = np.stack([table["correct"].to_numpy(float) for table in tables])
    its = tables[0]["correct_teacher"].to_numpy(float)
    over_images = ratio(own.mean(0), its)
    if math.isnan(over_images.value):
        return NOTHING
    share = over_images.value
    error = crossed_mean(own - share * its - 1.0)  # below 0, so that it is not taken for a share
    low, high = (share + (end + 1.0) / float(its.mean()) for end in error[1:])
    # Students that never differ have no spread of their own; images still leave a doubt.
    ends = np.nanmin([low, over_images.low]), np.nanmax([high, over_images.high])
    return worth_telling(Interval(share, max(0.0, float(ends[0])), float(ends[1])))


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of each sample in nats, `(N,)` >= 0 up to rounding.

    Args:
        student: logits `(N, K)`.
        teacher: logits `(N, K)` for the same samples.
    """
    own, its = F.log_softmax(student, 1), F.log_softmax(teacher, 1)
    return divergence(own, its)


def _joined(student: pd.DataFrame, teacher: pd.DataFrame) -> pd.DataFrame:
    own, its = (rows.assign(correct=robustly_correct(rows)) for rows in (student, teacher))
    columns = [name for name in ("index", "prediction", "correct", "confidence") if name in its]
    return own.merge(its[columns], on="index", suffixes=("", "_teacher"))
