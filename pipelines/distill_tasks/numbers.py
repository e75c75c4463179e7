"""Accuracies of every model and task, and paired differences, over images and seeds."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from callbacks.statistics import Interval, crossed_difference, crossed_mean, mean, mean_of
from callbacks.worst_case import robustly_correct
from pipelines.tasks.numbers import KEYS, image_keys

Right = dict[str, pd.DataFrame]
"""By task `(images, seeds)`: 0 or 1, or a mean of draws."""


def accuracy_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each disturbance, model and task, and what is taken over the tasks.

    Args:
        rows: `KEYS`, `model`, `seed`, `task`, `index`, `correct`, and `clean_correct` where
            something was attacked.

    Returns:
        Columns `KEYS`, `model`, `task`, `n`, `seeds`, `acc`, `acc_low`, `acc_high`. Besides the
        tasks `task` is "mean" and "worst"; the mean is over images labelled in every task, or of
        tasks whose images are different ones.
    """
    lines = []
    for key, part in _groups(rows):
        for model, own in part.groupby("model", sort=False):
            right = _right(own)
            for task, interval, n in _over(right, _share):
                seeds = next(iter(right.values())).shape[1]
                line = {**key, "model": model, "task": task, "n": n, "seeds": seeds}
                lines.append({**line, **interval.columns("acc")})
    return pd.DataFrame(lines)


def difference_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Student minus every other model, paired by image and seed; the teacher meets every seed.

    Args:
        rows: see `accuracy_table`.

    Returns:
        Columns `KEYS`, `against`, `task`, `n`, `seeds`, `change`, `change_low`, `change_high`.
        Besides the tasks `task` is "mean", and "worst": the least of the tasks' differences.
    """
    lines = []
    for key, part in _groups(rows):
        right = {str(name): _right(own) for name, own in part.groupby("model", sort=False)}
        student = right.pop("student", {})
        for against, other in right.items():
            if against == "teacher":  # it has no seeds of its own
                other = {t: _repeated(x, student[t]) for t, x in other.items() if t in student}
            pairs = {t: _paired(x, other[t]) for t, x in student.items() if t in other}
            pairs = {t: pair for t, pair in pairs.items() if pair.size}
            for task, interval, n in _over(pairs, _change):
                seeds = next(iter(pairs.values())).shape[1] // 2
                line = {**key, "against": against, "task": task, "n": n, "seeds": seeds}
                lines.append({**line, **interval.columns("change")})
    return pd.DataFrame(lines)


def _groups(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    for group, part in rows.groupby(KEYS, sort=False):
        yield dict(zip(KEYS, cast("tuple[object, ...]", group), strict=True)), part


def _right(rows: pd.DataFrame) -> Right:
    kept = rows.assign(right=robustly_correct(rows).astype(float))
    return {
        str(task): one.pivot_table("right", image_keys(one), "seed", aggfunc="mean").dropna()
        for task, one in kept.groupby("task", sort=False)
    }


def _repeated(teacher: pd.DataFrame, student: pd.DataFrame) -> pd.DataFrame:
    """The teacher's answers once for every seed of its students."""
    seeds = student.columns
    return pd.concat([teacher.iloc[:, 0]] * len(seeds), axis=1, keys=seeds)


def _paired(student: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """`(images, 2 · seeds)`: the other's answers, then the student's, of what both have."""
    images = student.index.intersection(other.index)
    seeds = student.columns.intersection(other.columns)
    sides = [side.loc[images, seeds] for side in (other, student)]
    return pd.concat(sides, axis=1, keys=("other", "student"))


def _over(
    tables: Mapping[str, pd.DataFrame],
    number: Callable[[np.ndarray, float], Interval],
) -> Iterator[tuple[str, Interval, int]]:
    """The number of every task, of their mean, and the least of them.

    The interval of the least holds whichever task that is: its ends are the least of the tasks'
    ends, the lower ones at Bonferroni's level.
    """
    found = {task: number(table.to_numpy().T, 0.95) for task, table in tables.items()}
    for task, interval in found.items():
        yield task, interval, len(tables[task])
    if len(tables) < 2:
        return
    images = sorted(set.intersection(*(set(table.index) for table in tables.values())))
    if images:
        whole = np.mean([table.loc[images].to_numpy() for table in tables.values()], axis=0)
        yield "mean", number(whole.T, 0.95), len(images)
    elif sum(map(len, tables.values())) == len(set().union(*(t.index for t in tables.values()))):
        # Of several data sets; the seeds are those of all tasks, which therefore hang together.
        every = sum(map(len, tables.values()))
        yield "mean", mean_of([*found.values()], independent=False), every
    level = 1 - 0.05 / len(tables)
    low = min(number(table.to_numpy().T, level).low for table in tables.values())
    high = min(interval.high for interval in found.values())
    least = min(interval.value for interval in found.values())
    yield "worst", Interval(least, low, high), min(map(len, tables.values()))


def _share(right: np.ndarray, level: float) -> Interval:
    """Of `(seeds, images)`."""
    if len(right) > 1 or np.isin(right, (0, 1)).all():
        return crossed_mean(right, level)
    return mean(right, level, bounds=(0.0, 1.0))


def _change(pair: np.ndarray, level: float) -> Interval:
    """Of `(2 · seeds, images)`, the other's first."""
    other, student = np.split(pair, 2)
    return crossed_difference(other, student, level)
