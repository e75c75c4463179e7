"""Numbers of the models of one name: over test images, and over seeds where there are several."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from callbacks.statistics import NOTHING, Interval, crossed_mean, mean, rate

LEAST_WHOLE = 0.1
"""A teacher with less accuracy than this has too little for a share of it to mean anything."""
WIDEST_SHARE = 0.5
"""A share whose interval is wider says neither that much was kept nor that little was."""


def meaningful_share(share: Interval, whole: Interval) -> Interval:
    """A share of the teacher's accuracy where it says something, else `NOTHING`.

    It does where the whole is at least `LEAST_WHOLE` and surely above 0, no end of the share is
    negative, and its interval is at most `WIDEST_SHARE` wide.

    Args:
        share: of the whole.
        whole: the teacher's accuracy.
    """
    meant = whole.value >= LEAST_WHOLE and whole.low > 0
    sure = share.low >= 0 and share.high - share.low <= WIDEST_SHARE
    return share if meant and sure else NOTHING


def over_seeds(
    tables: Sequence[pd.DataFrame], column: Callable[[pd.DataFrame], pd.Series]
) -> Interval:
    """Mean of a column that is nowhere negative; its interval covers images, and seeds if several.

    Args:
        tables: rows of the same images in the same order, a table for each seed.
        column: taken from each of them.
    """
    values = [column(table) for table in tables]
    if len(values) > 1:
        number = crossed_mean(np.stack([value.to_numpy(float) for value in values]))
    elif values[0].dtype.kind in "bi":  # right or wrong
        number = rate(int(values[0].sum()), len(values[0]))
    else:
        number = mean(values[0])
    return number._replace(low=max(number.low, 0.0))  # Student's t knows no bound
