"""Whether two splits come from one distribution: a classifier two-sample test, and what moved."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from callbacks.statistics import NOTHING, Interval, auroc_interval, holm

_MOST = 4000
"""Images of each split that are told apart: enough for an AUROC to ± 0.02."""
_LEAST = 20
_DIMENSIONS = 50


@dataclass(frozen=True)
class Shift:
    """Of two splits.

    Args:
        apart: AUROC at which a classifier tells images of the two apart that it has not learnt
            from; 0.5 is no shift.
        p: one-sided, that it tells them apart no better than chance.
        moved: a line for each statistic: `statistic, first, second, auroc, auroc_low, auroc_high,
            ks, p`; p is Holm's over the lines.
        images: of each split that were used.
    """

    apart: Interval
    p: float
    moved: pd.DataFrame
    images: int


def find_shift(
    one: np.ndarray,
    other: np.ndarray,
    first: pd.DataFrame,
    second: pd.DataFrame,
    seed: int = 0,
    most: int = _MOST,
) -> Shift:
    """Tests for any shift, and every statistic for its own.

    A classifier two-sample test (Lopez-Paz & Oquab 2017): a logistic regression learns from one
    half of both splits to tell them apart, and is judged on the other half, by Mann & Whitney's
    test: under equal distributions the scores of that half are exchangeable, so the level is exact.
    Statistics one by one by Kolmogorov & Smirnov's test (Rabanser et al. 2019), corrected.

    Args:
        one: `(N, D)` features of the first split.
        other: `(M, D)` of the second.
        first: statistics of its images.
        second: the same of the second.
        seed: of the choice of images and halves.
        most: images of each split.
    """
    random = np.random.default_rng(seed)
    n = min(len(one), len(other), most)
    if n < _LEAST:
        return Shift(NOTHING, float("nan"), _empty(), n)
    a, b = (random.permutation(len(part))[:n] for part in (one, other))
    half = n // 2
    learnt = np.concatenate([one[a[:half]], other[b[:half]]])
    judged = np.concatenate([one[a[half:]], other[b[half:]]])
    source = np.repeat([0, 1], [half, half])
    dimensions = min(_DIMENSIONS, half, learnt.shape[1])
    judge = make_pipeline(
        StandardScaler(), PCA(dimensions, random_state=seed), StandardScaler(),
        LogisticRegression(C=0.1, max_iter=200),
    )  # fmt: skip
    score = judge.fit(learnt, source).decision_function(judged)
    is_other = np.repeat([False, True], [n - half, n - half])
    # Ties, as of images that are there twice, are what the normal approximation deals with.
    p = stats.mannwhitneyu(
        score[is_other], score[~is_other], alternative="greater", method="asymptotic"
    ).pvalue
    return Shift(auroc_interval(score, is_other), float(p), _moved(first, second), n)


def _moved(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Every statistic that is not the same for all images, of all images of both splits."""
    lines = []
    for name in first.columns:
        a, b = first[name].to_numpy(float), second[name].to_numpy(float)
        if np.ptp(np.concatenate([a, b])) == 0:
            continue
        test: Any = stats.ks_2samp(a, b, method="asymp")
        apart = auroc_interval(np.concatenate([a, b]), np.repeat([False, True], [len(a), len(b)]))
        line = {"statistic": name, "first": a.mean(), "second": b.mean()}
        lines.append({**line, **apart.columns("auroc"), "ks": test.statistic, "p": test.pvalue})
    frame = pd.DataFrame(lines) if lines else _empty()
    return frame.assign(p=holm(frame["p"])) if len(frame) else frame


def _empty() -> pd.DataFrame:
    columns = ("first", "second", "auroc", "auroc_low", "auroc_high", "ks", "p")
    numbers = {column: pd.Series(dtype=float) for column in columns}
    return pd.DataFrame({"statistic": pd.Series(dtype=str), **numbers})
