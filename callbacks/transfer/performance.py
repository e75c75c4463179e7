"""Accuracy, macro precision, recall and F1, calibration and loss, and how they change."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from callbacks.statistics import Interval
from datamodules.errors import UserError

NUMBERS = ("acc", "precision", "recall", "f1", "ece", "loss")
"""Shares in [0, 1], macro averages over the classes that occur; loss in nats."""
_BINS = 15
_BLOCK = 64


def performance(
    tables: Sequence[pd.DataFrame],
    classes: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 500,
) -> dict[str, Interval]:
    """Every one of `NUMBERS`, averaged over seeds, with its bootstrap interval over images.

    Args:
        tables: rows of one seed each: `index label prediction loss confidence correct`.
        classes: how many there are.
        level: of confidence.
        seed: of the resampling.
        resamples: how many.
    """
    value, drawn = _resampled(tables, classes, seed, resamples)
    return _intervals(value, drawn, level)


def performance_change(
    before: Sequence[pd.DataFrame],
    after: Sequence[pd.DataFrame],
    classes: int,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = 500,
) -> dict[str, Interval]:
    """After minus before with its paired interval: the same images are drawn for both.

    Args:
        before: see `performance`.
        after: of the same images.
        classes: how many there are.
        level: of confidence.
        seed: of the resampling.
        resamples: how many.

    Raises:
        UserError: the two were measured on different images.
    """
    images = [set(table["index"]) for table in (*before, *after)]
    if any(one != images[0] for one in images):
        raise UserError("Expected rows of the same test images before and after, but they differ.")
    (old, old_drawn), (new, new_drawn) = (
        _resampled(tables, classes, seed, resamples) for tables in (before, after)
    )
    return _intervals(new - old, new_drawn - old_drawn, level)


def class_performance(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Precision, recall and F1 of every class; columns `class n precision recall f1`.

    A class that is never predicted has precision 0, as is usual.
    """
    numbers = precision_recall_fscore_support(
        rows["label"],
        rows["prediction"],
        labels=range(len(classes)),
        zero_division=0.0,  # type: ignore[arg-type]
    )
    precision, recall, f1, n = numbers
    columns = {"class": list(classes), "n": n, "precision": precision, "recall": recall, "f1": f1}
    return pd.DataFrame(columns)


def _resampled(
    tables: Sequence[pd.DataFrame], classes: int, seed: int, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """`(6,)` numbers and `(resamples, 6)` of images drawn again, both averaged over the tables."""
    ordered = [table.sort_values("index") for table in tables]
    n, generator = len(ordered[0]), np.random.default_rng(seed)
    columns = [_columns(table, classes) for table in ordered]
    occurs = np.unique(ordered[0]["label"])
    together = np.stack(columns, axis=2).reshape(n, -1)  # one product serves every table
    sums = [together.sum(0)[None]]
    for start in range(0, resamples, _BLOCK):  # all at once would be gigabytes for large n
        block = range(start, min(start + _BLOCK, resamples))
        times = [np.bincount(generator.integers(0, n, n), minlength=n) for _ in block]
        sums.append(np.stack(times).astype(float) @ together)
    every = np.concatenate(sums).reshape(1 + resamples, -1, len(columns))
    parts = [_numbers(every[:, :, i], classes, occurs) for i in range(len(columns))]
    numbers = np.mean(parts, axis=0)
    return numbers[0], numbers[1:]


def _columns(rows: pd.DataFrame, classes: int) -> np.ndarray:
    """What sums to every number: `(N, 4 + 3 classes + bins)`."""
    label, guess = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    correct = rows["correct"].to_numpy(dtype=float)
    confidence, loss = rows["confidence"].to_numpy(dtype=float), rows["loss"].to_numpy(dtype=float)
    finite = np.isfinite(loss)
    place = np.clip(np.ceil(np.nan_to_num(confidence) * _BINS).astype(int) - 1, 0, _BINS - 1)
    is_label, is_guess = np.eye(classes)[label], np.eye(classes)[guess]
    hits = is_label * (label == guess)[:, None]
    gap = np.eye(_BINS)[place] * np.nan_to_num(correct - confidence)[:, None]
    basic = [np.ones(len(rows)), correct, np.where(finite, loss, 0.0), finite.astype(float)]
    return np.column_stack([*basic, is_label, is_guess, hits, gap])


def _numbers(sums: np.ndarray, classes: int, occurs: np.ndarray) -> np.ndarray:
    """From sums `(B, M)` to `NUMBERS` `(B, 6)`."""
    edges = 4 + np.arange(4) * classes
    label, guess, hit = (sums[:, edges[i] : edges[i + 1]][:, occurs] for i in range(3))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall, f1 = (
            np.nan_to_num(part).mean(1)
            for part in (hit / guess, hit / label, 2 * hit / (label + guess))
        )
        mean_loss = sums[:, 2] / sums[:, 3]
    error = np.abs(sums[:, edges[3] :]).sum(1) / sums[:, 0]
    return np.stack([sums[:, 1] / sums[:, 0], precision, recall, f1, error, mean_loss], 1)


def _intervals(value: np.ndarray, drawn: np.ndarray, level: float) -> dict[str, Interval]:
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    ends = zip(value.tolist(), low.tolist(), high.tolist(), strict=True)
    return {name: Interval(*three) for name, three in zip(NUMBERS, ends, strict=True)}
