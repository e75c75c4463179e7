"""Every number is a reduction of rows."""

from collections.abc import Sequence

import pandas as pd

from callbacks.statistics import (
    Interval,
    auroc_interval,
    crossed_mean,
    ece_interval,
    holm,
    mcnemar,
    mean,
    paired_difference,
    rate,
)


def by_setting(rows: pd.DataFrame, also: Sequence[str] = ()) -> pd.DataFrame:
    """Reduces the rows of a probe to one line a setting, by growing severity.

    Args:
        rows: columns as `Outcomes` makes them.
        also: columns of the probe's own to reduce, for instance `sdc`.

    Returns:
        Columns `setting severity value n`, and each with its interval (`acc acc_low acc_high`):
        `acc`, `loss` (mean), `ece`, `brier`, `error_auroc` (how well low confidence tells errors)
        and `worst_loss`: NaN where an attack only looked for a verdict, the loss itself where
        nothing was attacked.
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
    """Share of correct rows of one setting: over images, and over draws where there are several."""
    return _number(rows, "correct")


def _number(rows: pd.DataFrame, column: str) -> Interval:
    """Mean of a column with the interval that its rows allow."""
    if "draw" in rows and rows["draw"].nunique() > 1:  # the same images under every draw
        return crossed_mean(rows.pivot_table(column, "draw", "index").to_numpy())
    if rows[column].isin([0, 1]).all():
        return rate(int(rows[column].sum()), len(rows))
    return mean(rows[column])


def _reduced(rows: pd.DataFrame, also: Sequence[str] = ()) -> dict[str, float]:
    correct, confidence = rows["correct"].to_numpy(), rows["confidence"].to_numpy()
    loss = mean(rows["loss"])
    numbers: dict[str, Interval] = {
        "acc": accuracy(rows),
        "loss": loss,
        "worst_loss": mean(rows["worst_loss"]) if "worst_loss" in rows else loss,
        "ece": ece_interval(confidence, correct),
        "brier": mean(rows["brier"]),
        "error_auroc": auroc_interval(-confidence, correct == 0),
    }
    numbers |= {name: _number(rows, name) for name in also if name in rows}
    found: dict[str, float] = {"n": len(rows)}
    for name, number in numbers.items():
        found |= number.columns(name)
    return found


def worst_case(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Joins rows of several attacks on the index: correct only where every one left it correct.

    This is the point-wise worst case, not the smallest of the accuracies (RobustBench's rule).

    Args:
        tables: rows of one setting each; samples that not all of them have are left out.

    Returns:
        The rows of lowest margin, one an index, with `correct` and, where attacks have it, the
        highest `worst_loss`.
    """
    common = set.intersection(*(set(table["index"]) for table in tables))
    joined = pd.concat([table.loc[table["index"].isin(common)] for table in tables])
    grouped = joined.groupby("index")
    worst = joined.sort_values("margin", kind="stable").drop_duplicates("index").set_index("index")
    worst["correct"] = grouped["correct"].min()
    if "worst_loss" in joined:
        worst["worst_loss"] = grouped["worst_loss"].max()
    return worst.sort_index().reset_index()


def per_class(rows: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Accuracy with its interval per class and setting; columns `class setting value n acc ...`."""
    lines = []
    for _, part in rows.groupby(["setting", "value", "label"]):
        first = part.iloc[0]
        share = accuracy(part)
        lines.append(
            {
                "class": classes[int(first["label"])],
                "setting": first["setting"],
                "value": first["value"],
                "n": len(part),
                **dict(zip(("acc", "acc_low", "acc_high"), share, strict=True)),
            }
        )
    return pd.DataFrame(lines)


def compare(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Compares two models on the samples both have, setting by setting.

    Args:
        one: rows of the first.
        other: rows of the second; settings are matched by name and value.

    Returns:
        Columns `setting value n`, `difference low high` of the accuracies (other - one, paired
        bootstrap over images, whose random draws are averaged), McNemar's `p` (of the majority),
        and `p_holm` corrected for all lines.
    """
    keys = ["setting", "value", "index"]
    one, other = _over_draws(one, keys), _over_draws(other, keys)
    joined = one.merge(other[[*keys, "correct"]], on=keys, suffixes=("", "_other"))
    lines = []
    for _, part in joined.groupby(["setting", "value"]):
        difference = paired_difference(part["correct"], part["correct_other"])
        lines.append(
            {
                "setting": part["setting"].iloc[0],
                "value": part["value"].iloc[0],
                "n": len(part),
                **dict(zip(("difference", "low", "high"), difference, strict=True)),
                "p": mcnemar(part["correct"] > 0.5, part["correct_other"] > 0.5),
            }
        )
    table = pd.DataFrame(lines, columns=["setting", "value", "n", "difference", "low", "high", "p"])
    return table.assign(p_holm=holm(table["p"]))


def _over_draws(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One row an image: how often it is right over the random draws, which no two models share."""
    if "draw" not in rows:
        return rows
    return pd.DataFrame(rows.groupby(keys, sort=False)["correct"].mean()).reset_index()
