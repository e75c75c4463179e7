"""The point-wise worst case over attacks and radii, from rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from callbacks.rows import OUTCOME_COLUMNS

_ROUNDING = 1e-6
"""Of a distance and a radius in float32, relative and absolute."""


class WorstCase(NamedTuple):
    """The point-wise worst rows by radius.

    Args:
        rows: one an image and radius, over the same images at every radius.
        left_out: images that some attack met, but not every attack at every radius, or not the
            clean table; they are in no row.
    """

    rows: pd.DataFrame
    left_out: int


def robustly_correct(rows: pd.DataFrame) -> pd.Series:
    """Whether each image counts as right: before any attack, and after it.

    One definition for both objectives: an attack on the loss goes on where the model already errs,
    and may end at a right answer by chance; one on the verdict leaves such images alone. In
    either case an image that the clean model gets wrong is wrong, as the ball holds it.

    Args:
        rows: with `correct`, and `clean_correct` where something was attacked; NaN where not.
    """
    if "clean_correct" not in rows:
        return rows["correct"]
    return rows["correct"].mask(rows["clean_correct"] == 0, 0)


def worst_case(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Joins rows of several attacks on the index: right only where every one left it right.

    This is the point-wise worst case, not the smallest of the accuracies (RobustBench's rule).

    Args:
        tables: rows of one setting each; samples that not all of them have are left out.

    Returns:
        The worst row of each index, a wrong one where there is any, else that of lowest margin;
        with `correct` as `robustly_correct` has it in all of them and, where attacks have it, the
        highest `worst_loss`.
    """
    joined = pd.concat(_on_common_images(tables))
    joined = joined.assign(correct=robustly_correct(joined))
    ordered = joined.sort_values(["correct", "margin"], kind="stable")
    worst = ordered.drop_duplicates("index").set_index("index")
    if "worst_loss" in joined:
        worst["worst_loss"] = joined.groupby("index")["worst_loss"].max()
    return worst.sort_index().reset_index()


def _on_common_images(tables: Sequence[pd.DataFrame]) -> Sequence[pd.DataFrame]:
    first = tables[0]["index"].array
    if all(table["index"].array.equals(first) for table in tables):
        return tables
    common = set.intersection(*(set(table["index"]) for table in tables))
    return [table.loc[table["index"].isin(common)] for table in tables]


def worst_up_to(attacks: Sequence[pd.DataFrame], clean: pd.DataFrame | None = None) -> WorstCase:
    """The worst of the clean image and of every attack up to each radius, image by image.

    A ball holds every smaller one and its own middle, so accuracy never rises with the radius, nor
    does the worst loss fall: 65.4 % for 58.6 % is shown where that is forgotten. It also holds
    every adversarial point that is as near, whatever radius was attacked: see `found_points`.

    Args:
        attacks: rows of one attack each, at any radii of one norm; they need not share radii.
        clean: rows of the undisturbed images; without them `clean_correct` stands in.

    Returns:
        Rows with `setting` "worst", and `severity` and `value` of each radius that any attack has.
        `worst_loss` stays NaN up to the first radius at which an attack looked for the loss.
    """
    # By step: radii that differ by rounding alone are one.
    settings = [part for rows in attacks for _, part in rows.groupby("severity", sort=False)]
    met = pd.concat([table["index"] for table in settings]).nunique()
    kept = _on_common_images(settings if clean is None else [*settings, clean])
    of_step: dict[int, list[pd.DataFrame]] = {}
    for table, own in zip(settings, kept, strict=False):
        of_step.setdefault(int(table["severity"].iloc[0]), []).append(own)
    points = pd.concat([found_points(rows) for rows in attacks])
    so_far = [] if clean is None else [_undisturbed(kept[-1])]
    lines = []
    for step, parts in sorted(of_step.items()):
        value = max(float(part["value"].max()) for part in parts)
        worst = _with_points(worst_case([*so_far, *parts]), within(points, value))
        so_far = [worst]
        lines.append(_with_clean_loss(worst, clean).assign(severity=step, value=value))
    rows = pd.concat(lines, ignore_index=True).assign(setting="worst")
    return WorstCase(rows, met - kept[0]["index"].nunique())


def found_points(rows: pd.DataFrame) -> pd.DataFrame:
    """The adversarial points of an attack, each with its `distance` and the answers there.

    An attack within a ball has one for every row that it broke; one that looks for the least change
    one for every image, which stands in `minimum_distance` and in columns `found_...`.

    Args:
        rows: of one attack, at any radii.

    Returns:
        Rows of images that are right undisturbed; none where rows tell no distance.
    """
    if "distance" not in rows:
        return rows.iloc[:0]
    if "found_prediction" in rows:
        rows = rows.drop_duplicates("index")
        answers = {name: rows[f"found_{name}"] for name in FOUND_COLUMNS}
        rows = rows.assign(**answers, distance=rows["minimum_distance"], correct=0)
    broken = (rows["correct"] == 0) & (rows["clean_correct"] == 1)
    moved = np.isfinite(rows["distance"]) & (rows["distance"] > 0)  # not by chance, where it is
    return rows.loc[broken & moved]


FOUND_COLUMNS = tuple(name for name in OUTCOME_COLUMNS if name not in ("label", "correct"))
"""Answers at the nearest adversarial point, which rows keep with `found_` before them."""


def within(points: pd.DataFrame, radius: float) -> pd.DataFrame:
    """Those of `found_points` that lie in the ball of a radius."""
    if "distance" not in points:
        return points
    return points.loc[points["distance"] <= radius * (1 + _ROUNDING) + _ROUNDING]


def _with_points(worst: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Takes a point in the ball for the worst of each image that is right so far."""
    right = worst.loc[worst["correct"] == 1, "index"]
    broken = points.loc[points["index"].isin(right)].sort_values("margin", kind="stable")
    broken = broken.drop_duplicates("index")
    if broken.empty:
        return worst
    if "worst_loss" in worst:  # that of another ball is not the worst of this one
        losses = worst.set_index("index")["worst_loss"]
        broken = broken.assign(worst_loss=broken["index"].map(losses))
    kept = worst.loc[~worst["index"].isin(broken["index"])]
    return pd.concat([kept, broken]).sort_values("index").reset_index(drop=True)


def _undisturbed(clean: pd.DataFrame) -> pd.DataFrame:
    """Clean rows in the form of an attack that looked for no loss."""
    return clean.assign(clean_correct=clean["correct"], worst_loss=np.nan)


def _with_clean_loss(worst: pd.DataFrame, clean: pd.DataFrame | None) -> pd.DataFrame:
    """Raises the worst loss to that of the clean image, where a worst loss was looked for."""
    if clean is None or "worst_loss" not in worst:
        return worst
    own = clean.set_index("index")["loss"].reindex(worst["index"]).to_numpy()
    losses = worst["worst_loss"].to_numpy()
    return worst.assign(worst_loss=np.where(np.isnan(losses), np.nan, np.maximum(losses, own)))
