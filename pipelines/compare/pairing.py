"""Two models on the same images: paired differences under every probe, corrected for all of them.

Pure functions of rows: nothing here reads a run or knows a probe by name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import pandas as pd

from callbacks.reductions import paired_numbers
from callbacks.results import ProbeResult, headline_step, unit_sign, unit_slug
from callbacks.statistics import holm, marks, paired_difference
from callbacks.worst_case import robustly_correct, worst_up_to

SETTING = ["setting", "severity", "value"]
_ANSWER = ("prediction", "correct", "loss")
_NO_ANSWERS = ["confidence", "logsumexp", "brier", "forwards", "backwards", "seconds"]
LEVEL = 0.05
"""Of the family of all comparisons."""
_UNBOUNDED_LOSS = (0.0, float("inf"))


def answers(result: ProbeResult) -> ProbeResult:
    """The probe with one row an image and setting, which is what two models are paired by.

    Args:
        result: with all its rows.

    Returns:
        Rows `setting severity value index label prediction correct loss`: `correct` as
        `robustly_correct` has it, over random draws the share of them, with the first answer of
        the majority; `loss` the worst where an attack looked for it.
    """
    rows = result.rows
    loss = rows["worst_loss"] if "worst_loss" in rows else rows["loss"]
    rows = rows.assign(correct=robustly_correct(rows), loss=loss)
    columns = [*SETTING, "index", "label", "prediction", "correct", "loss"]
    if "draw" not in rows:
        return replace(result, rows=rows.loc[:, columns].sort_values(["severity", "index"]))
    keys = [*SETTING, "index"]
    means = rows.groupby(keys, sort=False)[["correct", "loss"]].transform("mean")
    told = rows.assign(correct=means["correct"], loss=means["loss"])
    majority = told.loc[(rows["correct"] > 0.5) == (means["correct"] > 0.5)]
    rows = majority.drop_duplicates(keys).loc[:, columns]
    return replace(result, rows=rows.sort_values(["severity", "index"]))


def with_worst_cases(results: Sequence[ProbeResult]) -> list[ProbeResult]:
    """The results, and of attacks on one threat model the worst of them image by image.

    Args:
        results: of one model; attacks are those whose rows have a `worst_loss`.
    """
    clean = next((result.rows for result in results if result.name == "clean"), None)
    groups: dict[tuple[str, str], list[ProbeResult]] = {}
    for one in results:
        if one.is_curve and "worst_loss" in one.rows and "certified" not in one.rows:
            groups.setdefault((one.family, one.unit), []).append(one)
    worst = []
    for (_, unit), group in groups.items():
        if len(group) > 1:
            tables = [one.rows.drop(columns=_NO_ANSWERS, errors="ignore") for one in group]
            rows = worst_up_to(tables, clean).rows
            name, title = f"worst_{unit_slug(unit)}", f"Worst case ({unit_sign(unit)})"
            rows = rows.assign(setting=name)
            worst.append(replace(group[0], name=name, title=title, rows=rows))
    return [*results, *worst]


def joined(one: ProbeResult, other: ProbeResult) -> pd.DataFrame:
    """Both models' answers side by side, an image and setting a row, with `_one` and `_other`.

    Args:
        one: from `answers`.
        other: the same probe of the other model.
    """
    mine, its = one.rows, other.rows
    keys = [*SETTING, "index", "label"]
    if not all(mine[key].array.equals(its[key].array) for key in keys):
        return mine.merge(its, on=keys, suffixes=("_one", "_other"))
    sides = (("one", mine), ("other", its))
    answered = {f"{key}_{end}": rows[key].to_numpy() for end, rows in sides for key in _ANSWER}
    return mine[keys].assign(**answered)  # what a merge gives, at a tenth of its time


def differences(one: Sequence[ProbeResult], other: Sequence[ProbeResult]) -> pd.DataFrame:
    """Every probe and setting: other minus one, paired by image.

    Args:
        one: from `answers`, of the baseline.
        other: the same probes of the other model.

    Returns:
        A line a setting: `probe title family unit setting severity value said headline n acc_one
        acc_other difference low high` (of accuracies, Bonett & Price's interval), exact McNemar
        `p`, `fixed broken` (images, by the majority of draws), `loss_difference loss_low
        loss_high`, `marks` why the last two may not hold. No `p_holm` yet: see `corrected`.
    """
    pairs = [pair for pair in zip(one, other, strict=True) if not pair[0].is_list]
    return pd.DataFrame([line for pair in pairs for line in _lines(*pair)])


def corrected(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Joins the lines of several comparisons and adds `p_holm`, which holds for all at once.

    Holm's correction (1979): the chance that any line of models that err equally often falls
    below 5 % is at most 5 %. `verdict` says `better`, `worse` or nothing of each line.

    Args:
        tables: from `differences`, e.g. of several models with one baseline.
    """
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    if table.empty:
        return table
    adjusted = holm(table["p"])
    table = table.assign(p_holm=adjusted)
    return table.assign(verdict=[*map(_verdict, adjusted, table["difference"])])


def _verdict(p: float, difference: float) -> str:
    return "" if p >= LEVEL or difference == 0 else "better" if difference > 0 else "worse"


def _lines(one: ProbeResult, other: ProbeResult) -> Iterator[dict[str, object]]:
    """A line a setting of one probe."""
    about = {"probe": one.name, "title": one.title, "family": one.family, "unit": one.unit}
    headline = headline_step(one.values, one.headline)
    for key, part in joined(one, other).groupby(SETTING, sort=False):
        setting, severity, value = cast("tuple[str, int, float]", key)
        before, after = part["correct_one"], part["correct_other"]
        loss = paired_difference(part["loss_one"], part["loss_other"], bounds=_UNBOUNDED_LOSS)
        yield {
            **about,
            "setting": setting,
            "severity": severity,
            "value": value,
            "said": one.said(value),
            "headline": severity == headline,
            "n": len(part),
            "acc_one": float(before.mean()),
            "acc_other": float(after.mean()),
            **paired_numbers(before, after),
            "fixed": int(((after > 0.5) & (before <= 0.5)).sum()),
            "broken": int(((before > 0.5) & (after <= 0.5)).sum()),
            "loss_difference": loss.value,
            "loss_low": loss.low,
            "loss_high": loss.high,
            "marks": marks({"loss_difference": loss}),
        }
