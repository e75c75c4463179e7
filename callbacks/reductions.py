"""Every number is a reduction of rows."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from callbacks.statistics import (
    NOTHING,
    UNBOUNDED,
    Interval,
    auroc_interval,
    crossed_mean,
    ece_interval,
    holm,
    marks,
    mcnemar,
    mean,
    over_draws,
    paired_difference,
    rate,
)
from callbacks.worst_case import robustly_correct, worst_case, worst_up_to

_INFINITE = float("inf")
_BOUNDS = {
    "loss": (0.0, _INFINITE),
    "worst_loss": (0.0, _INFINITE),
    "brier": (0.0, 2.0),
    "confidence": (0.0, 1.0),
    "ece": (0.0, 1.0),
    "error_auroc": (0.0, 1.0),
    "flip": (0.0, 1.0),
    "sure": (0.0, 1.0),
}
_OF_ANSWERS = ("ece", "brier", "error_auroc")
_RESAMPLES = 500


def by_setting(rows: pd.DataFrame, also: Sequence[str] = ()) -> pd.DataFrame:
    """Reduces the rows of a probe to one line a setting, by growing severity.

    Args:
        rows: columns as `Outcomes` makes them.
        also: columns of the probe's own to reduce, for instance `sdc`.

    Returns:
        Columns `setting severity value n`, and each with its interval (`acc acc_low acc_high`):
        `acc` (see `robustly_correct`), `loss` (mean), `ece`, `brier`, `error_auroc` (how well low
        confidence tells errors) and `worst_loss`: NaN where an attack only looked for a verdict,
        the loss itself where nothing was attacked. `marks` names the numbers whose ends are
        doubtful, with the reason.
    """
    keys = ["setting", "severity", "value"]
    lines = [
        {**part[keys].iloc[0].to_dict(), **_reduced(part, also)}
        for _, part in rows.groupby(keys, sort=False)
    ]
    columns = [*keys, "n", "acc"]
    if not lines:
        return pd.DataFrame(columns=columns)
    return pd.DataFrame(lines).sort_values(["setting", "value"]).reset_index(drop=True)


def accuracy(rows: pd.DataFrame) -> Interval:
    """Share of right rows of one setting: over images, and over draws where there are several.

    Args:
        rows: of one setting; what counts as right says `robustly_correct`.
    """
    return column_mean(rows.assign(correct=robustly_correct(rows)), "correct")


def column_mean(rows: pd.DataFrame, column: str) -> Interval:
    """Mean of a column of one setting with the interval that its rows allow.

    Args:
        rows: of one setting; the same images under every draw where there are several.
        column: any; bounds are known of losses, scores and shares.
    """
    if _draws(rows) > 1:
        return crossed_mean(rows.pivot_table(column, "draw", "index").to_numpy())
    if rows[column].isin([0, 1]).all():
        return rate(int(rows[column].sum()), len(rows))
    return mean(rows[column], bounds=_BOUNDS.get(column, UNBOUNDED))


def per_class(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Accuracy with its interval per class and setting; columns `class setting value n acc ...`."""
    lines = []
    for _, part in rows.groupby(["setting", "value", "label"]):
        first = part.iloc[0]
        lines.append(
            {
                "class": classes[int(first["label"])],
                "setting": first["setting"],
                "value": first["value"],
                "n": len(part),
                **accuracy(part).columns("acc"),
            }
        )
    return pd.DataFrame(lines)


def compare(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Compares two models on the samples both have, setting by setting.

    Args:
        one: rows of the first.
        other: rows of the second; settings are matched by name and value.

    Returns:
        Columns `setting value n`, `difference low high` of the accuracies (other - one, paired over
        images, whose random draws are averaged), McNemar's `p` (of the majority), and `p_holm`
        corrected for all lines.
    """
    keys = ["setting", "value", "index"]
    one, other = _over_draws(one, keys), _over_draws(other, keys)
    joined = one.merge(other[[*keys, "correct"]], on=keys, suffixes=("", "_other"))
    lines = []
    for _, part in joined.groupby(["setting", "value"]):
        lines.append(
            {
                "setting": part["setting"].iloc[0],
                "value": part["value"].iloc[0],
                "n": len(part),
                **paired_numbers(part["correct"], part["correct_other"]),
            }
        )
    table = pd.DataFrame(lines, columns=["setting", "value", "n", "difference", "low", "high", "p"])
    return table.assign(p_holm=holm(table["p"]))


def paired_numbers(one: pd.Series, other: pd.Series) -> dict[str, float]:
    """`difference low high` of the accuracies, other - one, and McNemar's `p`.

    Args:
        one: how far each image is right, of the first model.
        other: the same images, of the second.
    """
    difference = paired_difference(one, other)
    ends = dict(zip(("difference", "low", "high"), difference, strict=True))
    return {**ends, "p": mcnemar(one > 0.5, other > 0.5)}


def _reduced(rows: pd.DataFrame, also: Sequence[str] = ()) -> dict[str, float | str]:
    loss = column_mean(rows, "loss")
    numbers: dict[str, Interval] = {
        "acc": accuracy(rows),
        "loss": loss,
        "worst_loss": column_mean(rows, "worst_loss") if "worst_loss" in rows else loss,
        **(dict.fromkeys(_OF_ANSWERS, NOTHING) if "certified" in rows else _of_answers(rows)),
    }
    numbers |= {name: column_mean(_of_images(rows, name), name) for name in also if name in rows}
    numbers = {name: _possible(name, number) for name, number in numbers.items()}
    line: dict[str, float | str] = {"n": len(rows)}
    for name, number in numbers.items():
        line |= number.columns(name)
    return {**line, "marks": marks(numbers)}


def _of_images(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row an image, where all of its draws have the same number: it is no draw's own."""
    if _draws(rows) < 2 or (rows.groupby("index")[column].nunique(dropna=False) > 1).any():
        return rows
    return rows.drop_duplicates("index").drop(columns="draw")


def _of_answers(rows: pd.DataFrame) -> dict[str, Interval]:
    """Of probabilities that somebody is told; a bound of what is possible is told to nobody."""
    numbers = (_of_every_draw(rows, _ece), column_mean(rows, "brier"))
    return dict(zip(_OF_ANSWERS, (*numbers, _of_every_draw(rows, _error_auroc)), strict=True))


def _possible(name: str, number: Interval) -> Interval:
    """Cuts ends, e.g. of few draws, at what a number can be; that takes nothing from coverage."""
    least, most = _BOUNDS.get(name, UNBOUNDED)
    low, high = np.clip([number.low, number.high], least, most)
    return Interval(number.value, float(low), float(high)).marked(number.mark)


def _draws(rows: pd.DataFrame) -> int:
    return int(rows["draw"].nunique()) if "draw" in rows else 1


def _of_every_draw(rows: pd.DataFrame, number: Callable[[pd.DataFrame, int], Interval]) -> Interval:
    """A number that is no mean, over the random draws that met the same images."""
    draws = _draws(rows)
    if draws < 2:
        return number(rows, _RESAMPLES)
    few = max(100, _RESAMPLES // draws)
    return over_draws([number(part, few) for _, part in rows.groupby("draw", sort=False)])


def _ece(rows: pd.DataFrame, resamples: int) -> Interval:
    """Of the answers as they are: a lucky one under attack is a right one to its confidence."""
    return ece_interval(rows["confidence"], rows["correct"], resamples=resamples)


def _error_auroc(rows: pd.DataFrame, resamples: int) -> Interval:
    return auroc_interval(-rows["confidence"], rows["correct"] == 0)


def _over_draws(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row an image: how often it is right over the random draws, which no two models share."""
    rows = rows.assign(correct=robustly_correct(rows))
    if "draw" not in rows:
        return rows
    return pd.DataFrame(rows.groupby(keys, sort=False)["correct"].mean()).reset_index()


__all__ = [
    "accuracy",
    "by_setting",
    "column_mean",
    "compare",
    "paired_numbers",
    "per_class",
    "robustly_correct",
    "worst_case",
    "worst_up_to",
]
