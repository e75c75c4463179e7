"""How well scores tell one data set from another."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from callbacks.statistics import auroc_interval, fpr95


def separation(inside: ArrayLike, outside: ArrayLike) -> dict[str, float]:
    """AUROC with DeLong's interval, and both readings of FPR95, on raw scores.

    `fpr95_in`: share of outliers accepted when 95 % of the data's own images are (most papers).
    `fpr95_out`: share of own images rejected when 95 % of the outliers are caught (OpenOOD >= 1.5,
    pytorch-ood). The two differ without any difference in AUROC.

    Args:
        inside: `(N,)` scores of images like the training data; higher is more like it.
        outside: `(M,)` scores of others.
    """
    a, b = np.asarray(inside, dtype=float), np.asarray(outside, dtype=float)
    score, own = np.concatenate([a, b]), np.repeat([True, False], [len(a), len(b)])
    return {
        **auroc_interval(score, own).columns("auroc"),
        "fpr95_in": fpr95(score, own),
        "fpr95_out": fpr95(-score, ~own),
    }


def separation_table(
    inside: Mapping[str, ArrayLike], outside: Mapping[str, Mapping[str, ArrayLike]]
) -> pd.DataFrame:
    """One line a score and outlier set: `outliers score n n_out auroc ... fpr95_in fpr95_out`.

    Args:
        inside: scores of the data's own images, by name.
        outside: the same scores of every set of outliers.
    """
    return pd.DataFrame(
        [
            {
                "outliers": kind,
                "score": name,
                "n": len(np.asarray(own)),
                "n_out": len(np.asarray(scores[name])),
                **separation(own, scores[name]),
            }
            for kind, scores in outside.items()
            for name, own in inside.items()
        ]
    )
