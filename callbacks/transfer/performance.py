"""Accuracy, macro precision, recall and F1, calibration and loss, and how they change."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from callbacks.statistics import (
    Interval,
    ece_interval,
    mean,
    paired_difference,
    rate,
    without_ends,
)
from callbacks.transfer.macro_average import (
    MacroNumber,
    answered_classes,
    macro_average,
    macro_change,
)
from datamodules.errors import UserError

NUMBERS = ("acc", "precision", "recall", "f1", "ece", "loss")
"""Shares in [0, 1], macro averages over the classes that occur; loss in nats."""
_MACRO: tuple[MacroNumber, ...] = ("precision", "recall", "f1")
_LOSSES = (0.0, float("inf"))


def performance(
    tables: Sequence[pd.DataFrame],
    classes: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 500,
) -> dict[str, Interval]:
    """Every one of `NUMBERS`, averaged over seeds, with its interval over images.

    Seeds share the images, so that more of them narrow an interval by what images do not decide.
    Macro averages rest on `MacroAverage`; a class without test images is in none of them (see
    `without_images`), and one that is never predicted has precision 0, of which nothing is known.

    Args:
        tables: rows of one seed each: `index label prediction loss confidence correct`.
        classes: how many there are.
        level: of confidence.
        seed: of resampling, where a number needs it.
        resamples: how many; 1 gives the values without ends, at a fraction of the time.
    """
    ordered = [table.sort_values("index") for table in tables]
    hits, losses = _by_image(ordered, "correct"), _by_image(ordered, "loss")
    measured = {"acc": _share(hits, level, seed, resamples)}
    measured |= {name: macro_average(ordered, name).interval(level) for name in _MACRO}
    measured["ece"] = _ece(ordered, level, seed, resamples)
    measured["loss"] = mean(losses, level, bounds=_LOSSES)
    if resamples < 2:
        return {name: without_ends(part.value) for name, part in measured.items()}
    return measured


def performance_change(
    before: Sequence[pd.DataFrame],
    after: Sequence[pd.DataFrame],
    classes: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 500,
) -> dict[str, Interval]:
    """After minus before with its paired interval over images.

    Args:
        before: see `performance`.
        after: of the same images.
        classes: how many there are.
        level: of confidence.
        seed: see `performance`.
        resamples: how many.

    Raises:
        UserError: the two were measured on different images.
    """
    images = [set(table["index"]) for table in (*before, *after)]
    if any(part != images[0] for part in images):
        raise UserError("Expected rows of the same test images before and after, but they differ.")
    old, new = ([table.sort_values("index") for table in tables] for tables in (before, after))
    measured = {
        "acc": paired_difference(
            _by_image(old, "correct"), _by_image(new, "correct"), level, seed, resamples
        )
    }
    for name in _MACRO:
        measured[name] = macro_change(macro_average(old, name), macro_average(new, name), level)
    measured["ece"] = _apart(*(_ece(tables, level, seed, resamples) for tables in (old, new)))
    losses = _by_image(old, "loss"), _by_image(new, "loss")
    measured["loss"] = paired_difference(*losses, level, bounds=_LOSSES)
    return measured


def class_performance(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Precision, recall and F1 of every class; columns `class n precision recall f1`.

    A class that is never predicted has precision 0, as is usual; one without test images has no
    recall and no F1, and n = 0 says so.
    """
    numbers = precision_recall_fscore_support(
        rows["label"],
        answered_classes(rows),
        labels=range(len(classes)),
        zero_division=0.0,  # type: ignore[arg-type]
    )
    precision, recall, f1, n = numbers
    columns = {"class": list(classes), "n": n, "precision": precision, "recall": recall, "f1": f1}
    table = pd.DataFrame(columns)
    table.loc[table["n"] == 0, ["recall", "f1"]] = np.nan
    return table


def without_images(rows: pd.DataFrame, classes: Sequence[str]) -> str | None:
    """Says which classes have no test image, for the reader of a macro average; None if all do."""
    seen = set(rows["label"].unique())
    missing = [name for i, name in enumerate(classes) if i not in seen]
    if not missing:
        return None
    named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return (
        f"{len(missing)} of {len(classes)} classes have no test image ({named}): macro averages "
        "are over the others."
    )


def _by_image(tables: Sequence[pd.DataFrame], column: str) -> np.ndarray:
    """`(N,)` mean over seeds; what is not finite is left out."""
    values = np.stack([table[column].to_numpy(dtype=float) for table in tables])
    finite = np.isfinite(values)
    count = finite.sum(0)
    return np.where(count > 0, np.where(finite, values, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def _share(hits: np.ndarray, level: float, seed: int, resamples: int) -> Interval:
    if np.isin(hits, (0, 1)).all():
        return rate(int(hits.sum()), len(hits), level)
    return mean(hits, level, seed, resamples, bounds=(0, 1))


def _ece(tables: Sequence[pd.DataFrame], level: float, seed: int, resamples: int) -> Interval:
    """Mean over seeds of value and ends: all of them saw the same images."""
    parts = [
        ece_interval(part["confidence"], part["correct"], 15, level, seed, resamples)
        for part in tables
    ]
    mark = next((part.mark for part in parts if part.mark), "")
    return Interval(*(float(end) for end in np.mean(parts, axis=0))).marked(mark)


def _apart(before: Interval, after: Interval) -> Interval:
    """A difference of two biased estimates: of the middles of their intervals, halves in squares.

    What the two share, being of the same images, is not taken off, so that it is rather wide.
    """
    middle = (after.low + after.high - before.low - before.high) / 2
    reach = float(np.hypot(after.high - after.low, before.high - before.low)) / 2
    return Interval(after.value - before.value, middle - reach, middle + reach)
