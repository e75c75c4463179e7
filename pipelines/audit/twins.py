"""What test images that have a twin among those learnt from do to a model's accuracy."""

import numpy as np
import pandas as pd

from callbacks.statistics import NOTHING, Interval, rate

LEARNT = ("train", "val")


def has_twin(pairs: pd.DataFrame, index: np.ndarray) -> np.ndarray:
    """`(N,)` whether test images have a twin among training or validation images."""
    learnt = pairs.loc[(pairs["split"] == "test") & pairs["partner_split"].isin(LEARNT)]
    return np.isin(index, learnt["index"])


def accuracy_with_twins(correct: np.ndarray, twin: np.ndarray) -> pd.DataFrame:
    """Accuracy on all test images, on the twins, on the rest, and how far apart they are.

    Args:
        correct: `(N,)` whether a model is right.
        twin: `(N,)` whether the image has a twin.

    Returns:
        Lines `images, n, value, value_low, value_high`.
    """
    parts = {"all": np.ones_like(twin), "twins": twin, "without twins": ~twin}
    found = {name: rate(int(correct[part].sum()), int(part.sum())) for name, part in parts.items()}
    sizes = {name: int(part.sum()) for name, part in parts.items()}
    apart = independent_difference(found["without twins"], found["twins"])
    share = twin.mean()
    found["twins minus rest"] = apart
    # all - rest = share (twins - rest): what the twins lend to the accuracy
    found["change without twins"] = Interval(*sorted_ends(apart, -share)) if share else NOTHING
    return pd.DataFrame(
        [
            {"images": name, "n": sizes.get(name, len(twin)), **number.columns("value")}
            for name, number in found.items()
        ]
    )


def independent_difference(one: Interval, other: Interval) -> Interval:
    """The other rate minus the one, of different images.

    Newcombe's hybrid of two Wilson intervals (1998, method 10).
    """
    value = other.value - one.value
    low = np.hypot(other.value - other.low, one.high - one.value)
    high = np.hypot(other.high - other.value, one.value - one.low)
    return Interval(value, value - float(low), value + float(high))


def sorted_ends(number: Interval, factor: float) -> tuple[float, float, float]:
    """A number times a factor, which may be negative."""
    low, high = sorted((factor * number.low, factor * number.high))
    return factor * number.value, low, high
