"""Macro averages over classes: what their intervals are tried on."""

from collections.abc import Iterable
from functools import partial

import numpy as np
import pandas as pd
from interval_case import Case

from callbacks.statistics import Interval
from callbacks.transfer.macro_average import MacroNumber, macro_average, macro_change


def cases() -> Iterable[Case]:
    """All of this file."""
    yield from _macros()


def _confusion(classes: int, recall: float, kind: str) -> np.ndarray:
    """`(C, C)` chances of each answer, by class."""
    own = np.full(classes, recall)
    if kind == "uneven":
        own = np.linspace(max(0.0, 2 * recall - 1), 1, classes)
    if kind == "one bad":
        own[0] = 0.3 * recall
    table = np.repeat((1 - own)[:, None] / (classes - 1), classes, axis=1)
    if kind == "in pairs":
        table = np.zeros((classes, classes))
        table[np.arange(classes), np.arange(classes) ^ 1] = 1 - own
    np.fill_diagonal(table, own)
    return table


def _counts(classes: int, n: int, skewed: bool) -> np.ndarray:
    weight = np.exp(-3 * np.arange(classes) / classes) if skewed else np.ones(classes)
    return np.maximum(2, (n * weight / weight.sum()).astype(int))


def _answers(g: np.random.Generator, chances: np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    label = np.repeat(np.arange(len(counts)), counts)
    guess = (g.random(len(label))[:, None] > chances.cumsum(1)[label]).sum(1)
    answers = {"label": label, "prediction": np.minimum(guess, len(counts) - 1)}
    return pd.DataFrame({**answers, "confidence": 1.0})


def _macro_truth(chances: np.ndarray, counts: np.ndarray, number: MacroNumber) -> float:
    joint = chances * counts[:, None]
    right, labels, guesses = np.diag(joint), joint.sum(1), joint.sum(0)
    whole = {"recall": labels, "precision": guesses, "f1": (labels + guesses) / 2}[number]
    return float(np.mean(right / np.where(whole > 0, whole, 1)))


def _macro(
    g: np.random.Generator, n: int, number: MacroNumber, classes: int, recall: float, kind: str
) -> Interval:
    """Deviation from the truth, which depends on how n images fall on the classes."""
    chances = _confusion(classes, recall, kind)
    counts = _counts(classes, n, kind == "one bad")
    found = macro_average([_answers(g, chances, counts)], number).interval()
    truth = _macro_truth(chances, counts, number)
    return Interval(*(end - truth for end in found))


def _macro_difference(
    g: np.random.Generator, n: int, number: MacroNumber, classes: int, recall: float
) -> Interval:
    """A fifth of the answers becomes right."""
    chances, counts = _confusion(classes, recall, "even"), _counts(classes, n, False)
    before = _answers(g, chances, counts)
    better = np.where(g.random(len(before)) < 0.2, before["label"], before["prediction"])
    after = before.assign(prediction=better)
    found = macro_change(*(macro_average([one], number) for one in (before, after)))
    later = 0.8 * chances + 0.2 * np.eye(classes)
    truth = _macro_truth(later, counts, number) - _macro_truth(chances, counts, number)
    return Interval(*(end - truth for end in found))


def _macros() -> Iterable[Case]:
    numbers: tuple[MacroNumber, ...] = ("recall", "precision", "f1")
    for number in numbers:
        for classes in (2, 10):
            for kind, recall in (
                ("even", 0.6), ("even", 0.9), ("even", 0.99), ("even", 1.0), ("uneven", 0.9),
                ("one bad", 0.9), ("in pairs", 0.9),
            ):  # fmt: skip
                sample = partial(_macro, number=number, classes=classes, recall=recall, kind=kind)
                setting = f"{classes} classes, {kind}, recall {recall}"
                yield Case(f"macro {number}", setting, 0.0, sample)
            change = partial(_macro_difference, number=number, classes=classes, recall=0.6)
            setting = f"{number}, {classes} classes, from .6 to .68"
            yield Case("macro change", setting, 0.0, change)
