"""Macro averages of precision, recall and F1 with intervals, also where no class ever errs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from callbacks.statistics import Interval, share_ends

MacroNumber = Literal["precision", "recall", "f1"]
NO_CLASS = -1
"""Stands for what is no answer, such as NaN, whose largest output says nothing."""


@dataclass(frozen=True)
class MacroAverage:
    """The mean over classes of a number, and what it rests on.

    Args:
        by_class: `(C,)` the number of every class that occurs, averaged over seeds, in [0, 1].
        trials: `(C,)` images that it is a share of; 0 for a class that is never predicted.
        influence: `(N,)` how much each image moves the mean, times N.
        together: variance of the mean over that of independent classes; where nothing errs it
            cannot be estimated, and this stands in.
        least: this factor is never below it.
    """

    by_class: np.ndarray
    trials: np.ndarray
    influence: np.ndarray
    together: float
    least: float

    @property
    def value(self) -> float:
        """The mean over classes."""
        return float(self.by_class.mean())

    @property
    def variance(self) -> float:
        """Of the mean over other images, by the delta method."""
        return float((self.influence**2).sum() / len(self.influence) ** 2)

    def interval(self, level: float = 0.95) -> Interval:
        """The wider of two intervals at either end, so that a perfect classifier has one side.

        The first recovers the variance of the mean from the ends of `rate` of every class (MOVER,
        Zou & Donner 2008): distances to the ends of independent estimates add up in squares, so
        that a rare class keeps its doubt. The second is `rate` at the effective number of images
        (Korn & Graubard 1998), as Wilson's ends of small classes are too near their middles.
        Measured coverage .93 to 1, the more the fewer classes err; with two images a class .90.
        """
        low, high = share_ends(self.by_class, np.where(self.trials > 0, self.trials, np.nan), level)
        below = self.by_class - np.nan_to_num(low, nan=0.0)
        above = np.nan_to_num(high, nan=1.0) - self.by_class
        scale = np.sqrt(self._factor()) / len(self.by_class)
        together = share_ends(self.value, self._effective(), level)
        low_end = min(self.value - scale * np.linalg.norm(below), together[0])
        high_end = max(self.value + scale * np.linalg.norm(above), together[1])
        return Interval(self.value, max(0.0, float(low_end)), min(1.0, float(high_end)))

    def _effective(self) -> float:
        """Images whose plain share would vary as much; of equal rates at least so many."""
        least = len(self.trials) ** 2 / (1 / np.maximum(self.trials, 1)).sum() / self.together
        spread = self.value * (1 - self.value)
        return max(least, spread / self.variance) if self.variance > 0 else least

    def _factor(self) -> float:
        """How much more, or less, the mean varies than that of independent classes of one seed."""
        binomial = self.by_class * (1 - self.by_class) / np.maximum(self.trials, 1)
        apart = float(binomial.sum()) / len(self.by_class) ** 2
        return max(self.variance / apart, self.least) if apart > 0 else self.together


def macro_average(tables: Sequence[pd.DataFrame], number: MacroNumber) -> MacroAverage:
    """Averages a number over the classes that occur, and over seeds.

    Args:
        tables: rows of one seed each, of the same images in the same order.
        number: which.
    """
    parts = [_of_one(table, number) for table in tables]
    by_class, trials, influence = (np.mean(column, axis=0) for column in zip(*parts, strict=True))
    # An error takes from the F1 of two classes at once: their mean varies up to twice as much.
    together = 2.0 if number == "f1" else 1.0
    return MacroAverage(by_class, trials, influence, together, 1 / len(tables))


def answered_classes(rows: pd.DataFrame) -> np.ndarray:
    """`(N,)` the class of each answer, `NO_CLASS` where it is none (see `rows.is_answer`)."""
    return rows["prediction"].where(rows["confidence"].notna(), NO_CLASS).to_numpy()


def macro_change(before: MacroAverage, after: MacroAverage, level: float = 0.95) -> Interval:
    """After minus before on the same images.

    Both intervals' distances in squares, less what they share (Zou & Donner 2008; of two shares it
    is Newcombe's method 10, 1998, whose continuity correction of the correlation is taken over).
    """
    n = len(before.influence)
    own, its = before.interval(level), after.interval(level)
    scale = np.sqrt(before.variance * after.variance)
    shared = before.influence @ after.influence / n**2
    # Where not one image was decided otherwise, that is no proof that none would be.
    shared = max(0.0, shared - 0.5 / n**2) if shared > 0 else shared
    known = before.trials.all() and after.trials.all()
    correlation = float(shared / scale) if scale > 0 and known else 0.0

    def reach(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other)))

    value = its.value - own.value
    low = value - reach(its.value - its.low, own.high - own.value)
    high = value + reach(its.high - its.value, own.value - own.low)
    return Interval(value, max(-1.0, low), min(1.0, high))


def _of_one(rows: pd.DataFrame, number: MacroNumber) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(C,)` numbers and trials of one seed, `(N,)` influence on their mean."""
    label, guess = rows["label"].to_numpy(), answered_classes(rows)
    size = int(max(label.max(), guess.max())) + 2
    guess = np.where(guess == NO_CLASS, size - 1, guess)  # a class of no image, hence of no average
    labels, guesses = np.bincount(label, minlength=size), np.bincount(guess, minlength=size)
    hit = label == guess
    hits = np.bincount(label[hit], minlength=size)
    # Each number is a ratio of sums over images: hits over what one counts as the class.
    counts_label, counts_guess = number != "precision", number != "recall"
    weight = 2 if number == "f1" else 1
    whole = counts_label * labels + counts_guess * guesses
    share = weight * hits / np.maximum(whole, 1)
    occurs = labels > 0
    moves = np.where(occurs & (whole > 0), 1 / np.maximum(whole, 1), 0.0) / occurs.sum()
    influence = weight * hit * moves[label]
    influence = influence - counts_label * share[label] * moves[label]
    influence = influence - counts_guess * share[guess] * moves[guess]
    # The variance of F1 is 2 - F1 times that of a share of as many labels and guesses.
    trials = whole / (2 - share) if number == "f1" else whole
    return share[occurs], trials[occurs], len(rows) * influence
