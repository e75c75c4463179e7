"""What rows of several tasks amount to: every task, the worst, their mean, and all together."""

from typing import cast

import pandas as pd

from callbacks.reductions import accuracy
from callbacks.statistics import Interval, mean, mean_of, rate
from callbacks.worst_case import robustly_correct

KEYS = ["family", "setting", "severity", "value", "attacked"]
ITSELF = "itself"
"""What is attacked where every task met a perturbation of its own."""


def task_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each disturbance and task, and what is taken over the tasks.

    Args:
        rows: `KEYS`, `task`, `index` (of several data sets `data` too), `correct`, and
            `clean_correct` where something was attacked; those of the task "joint" are right where
            all tasks are.

    Returns:
        Columns `KEYS`, `task`, `over`, `n`, `acc`, `acc_low`, `acc_high`. Besides the tasks `task`
        is "worst", "mean", "joint" (all right) or "any" (at least one right); the last two only
        where all tasks were asked about the same images.
    """
    lines = []
    for group, part in rows.groupby(KEYS, sort=False):
        key = cast("tuple[object, ...]", group)
        own = [
            (str(task), accuracy(one), len(one), "its labelled images")
            for task, one in part.groupby("task", sort=False)
        ]
        taken = over_tasks(part, with_all=key[-1] != ITSELF)
        for task, interval, n, over in [*own, *taken]:
            line = dict(zip(KEYS, key, strict=True))
            lines.append({**line, "task": task, "over": over, "n": n, **interval.columns("acc")})
    return pd.DataFrame(lines)


def over_tasks(rows: pd.DataFrame, with_all: bool) -> list[tuple[str, Interval, int, str]]:
    """What one disturbance leaves over the tasks.

    Args:
        rows: of one disturbance.
        with_all: all tasks were asked about the same images, so that answers can be joined.

    Returns:
        Name, number, images, and what it is over. The interval of the worst task holds whichever
        that is: its ends are the least of the tasks' ends, the lower ones at Bonferroni's level.
    """
    kept = rows.loc[rows["task"] != "joint"]
    kept = kept.assign(right=robustly_correct(kept).astype(float))
    table = kept.pivot_table("right", image_keys(kept), "task", aggfunc="mean", sort=False)
    if table.shape[1] < 2:
        return []
    whole = table.dropna()  # images that have a label in every task
    least = worst_of({str(name): column.dropna() for name, column in table.items()})
    n, labelled = len(whole), f"{len(whole):,} images labelled in every task"
    found = [("worst", least, len(table), f"the least of {table.shape[1]} tasks")]
    if n == 0:
        if (table.notna().sum(axis=1) == 1).all():  # as of several data sets
            own = [accuracy(one) for _, one in kept.groupby("task", sort=False)]
            found.append(("mean", mean_of(own), len(table), f"{len(own)} tasks, each on its own"))
        return found
    average = mean(whole.mean(axis=1), bounds=(0.0, 1.0))
    found.append(("mean", average, n, f"{table.shape[1]} tasks, {labelled}"))
    if with_all:
        right = {"any": (whole > 0).any(axis=1)}
        if "joint" not in set(rows["task"]):
            right["joint"] = (whole == 1).all(axis=1)
        found += [(name, rate(int(one.sum()), n), n, labelled) for name, one in right.items()]
    return found


def image_keys(rows: pd.DataFrame) -> list[str]:
    """Columns that tell an image: of one data set its index does."""
    return [name for name in ("data", "index") if name in rows]


def worst_of(tasks: dict[str, pd.Series]) -> Interval:
    """The least accuracy of several tasks.

    Args:
        tasks: 0 or 1 for each image, or a mean of draws, by task.
    """
    level = 1 - 0.05 / len(tasks)
    values = [_share(right, 0.95) for right in tasks.values()]
    careful = [_share(right, level) for right in tasks.values()]
    least = min(one.value for one in values)
    low, high = (min(getattr(one, end) for one in ends_of) for end, ends_of in
                 (("low", careful), ("high", values)))  # fmt: skip
    return Interval(least, low, high)


def _share(right: pd.Series, level: float) -> Interval:
    if right.isin([0, 1]).all():
        return rate(int(right.sum()), len(right), level)
    return mean(right, level, bounds=(0.0, 1.0))
