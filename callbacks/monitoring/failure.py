"""Failure detection: does the model know when it is wrong? From rows, at no further forward."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from callbacks.statistics import aurc, aurc_interval, auroc_interval, ece_interval, marks


def excess_aurc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """AURC minus that of a confidence that puts every error last; 0 is perfect.

    Geifman et al. 1805.08206, 2019. The best AURC at an error rate e is about e + (1 - e)ln(1 - e);
    here it is that of the same finite sample.
    """
    return aurc(confidence, correct) - aurc(correct, correct)


def augrc(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the generalised risk-coverage curve: errors accepted among all (2407.01032, 2024).

    At an error rate e about e²/2 at best and e/2 at random.

    Args:
        confidence: `(N,)`.
        correct: `(N,)` whether the prediction is.
    """
    confidences, hits = np.asarray(confidence, dtype=float), np.asarray(correct, dtype=float)
    if len(hits) == 0:
        return float("nan")
    errors = 1 - hits[(-confidences).argsort(kind="stable")]
    return float(errors.cumsum().mean() / len(errors))


def certainty(rows: pd.DataFrame) -> np.ndarray:
    """Ranks rows by confidence; where float32 has rounded it to 1, by the logsumexp behind it.

    A network with large logits is surer of nearly everything than seven digits can say: there its
    softmax ties, hence cannot tell errors, although the logits can.

    Args:
        rows: columns `confidence` and `logsumexp`.

    Returns:
        `(N,)` float, equal where nothing tells rows apart; not a number where confidence is none.
    """
    confidence = rows["confidence"].to_numpy(dtype=float)
    behind = np.where(confidence >= 1, rows["logsumexp"].to_numpy(dtype=float), 0.0)
    place = np.unique(np.stack([confidence, behind], 1), axis=0, return_inverse=True)[1]
    return np.where(np.isfinite(confidence), place.reshape(-1), np.nan)


def failure_table(rows: pd.DataFrame, score: str = "confidence") -> pd.DataFrame:
    """One line a setting of a probe: how well a score tells errors from correct answers.

    Args:
        rows: of any probe, columns as `Outcomes` makes them.
        score: column to rank by, `confidence` (see `certainty`) or `logsumexp` (minus the energy).

    Returns:
        `setting severity value n errors`, `error_auroc aurc ece` with their intervals,
        `excess_aurc augrc`, and `marks` of the numbers whose ends are doubtful.
    """
    keys = ["setting", "severity", "value"]
    lines = [
        {**part[keys].iloc[0].to_dict(), **_reduced(part, score)}
        for _, part in rows.groupby(keys, sort=False)
    ]
    return pd.DataFrame(lines)


def _reduced(rows: pd.DataFrame, score: str) -> dict[str, float | str]:
    correct = rows["correct"].to_numpy()
    ranked = certainty(rows) if score == "confidence" else rows[score].to_numpy()
    intervals = {
        "error_auroc": auroc_interval(-ranked, correct == 0),
        "aurc": aurc_interval(ranked, correct),
        "ece": ece_interval(rows["confidence"].to_numpy(), correct),
    }
    found: dict[str, float | str] = {"n": len(rows), "errors": int((correct == 0).sum())}
    for name, one in intervals.items():
        found |= one.columns(name)
    found["excess_aurc"] = excess_aurc(ranked, correct)
    found["augrc"] = augrc(ranked, correct)
    found["marks"] = marks(intervals)
    return found
