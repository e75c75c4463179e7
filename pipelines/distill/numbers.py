"""Numbers of the models of one name: over test images, and over seeds where there are several."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from callbacks.statistics import Interval, crossed_mean, mean, rate


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
        number = mean(values[0], bounds=(0.0, float("inf")))
    return number._replace(low=max(number.low, 0.0))  # Student's t knows no bound
