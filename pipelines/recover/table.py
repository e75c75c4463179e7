"""Rows of many repairs reduced to one line each, with intervals over damage and training seeds."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from callbacks.damage.assessment import (
    over_seeds,
    recovery_ratio,
    resilience_loss,
    sustained_time,
)
from callbacks.results import records
from callbacks.statistics import NOTHING, Interval, rate, student
from lightning_modules import Tuning
from pipelines.recover.damages import CONTROLS
from pipelines.recover.strategies import strategy_named

KEYS = ["subject", "damage", "severity", "strategy", "optimizer"]
DRAW = [*KEYS, "seed", "training_seed"]
"""What one repair is known by."""
_LEVELS = (0.90, 0.95, 0.99)
_OF_CURVE = {
    "curve_original": "acc_original",
    "curve_damaged": "acc_damaged",
    "curve_drop_error": "drop_error",
}
"""The same on the images that a curve is measured on; results of earlier versions lack them."""
_NEW = ("loss_original", "loss_damaged", "loss_repaired", "positive_flips", "note")
"""Columns that results of earlier versions lack."""
_MEANS = (
    "acc_original", "acc_damaged", "loss_original", "loss_damaged", "retained",
    "agreement", "area", "steps", "samples", "labels", "images",
    "flops", "memory", "storage_bits", "asr_damaged",
)  # fmt: skip


def assessed(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds to every row what it says about the recovery.

    Args:
        rows: as `repaired` makes them.

    Returns:
        The rows with `ratio` (NaN where the damage is inside the noise), `in_noise`, `retained`,
        `area` (resilience loss, normalised; NaN as the ratio is) and `steps_90`, `steps_95`,
        `steps_99`: optimizer steps after which the accuracy stays at that share of the original's;
        infinite where it never does, NaN where nothing was trained. A repair that failed leaves the
        damaged model, whose numbers count.
    """
    rows = rows.assign(**{name: math.nan for name in _NEW if name not in rows})
    rows = rows.assign(**{name: rows[of] for name, of in _OF_CURVE.items() if name not in rows})
    has_failed = rows["status"] != "ok"
    left = {f"{number}_repaired": f"{number}_damaged" for number in ("acc", "loss", "asr")}
    rows = rows.assign(**{to: rows[to].mask(has_failed, rows[of]) for to, of in left.items()})
    numbers = pd.DataFrame([_of_row(row) for row in records(rows)], index=rows.index)
    return pd.concat([rows, numbers], axis=1)


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a subject, damage, severity, strategy and optimizer.

    Args:
        rows: as `repaired` makes them; several seeds each.

    Returns:
        `KEYS`, `draws`, `failed` (of them), `status` (ok, or why all failed), `reason` (why some
        did), `acc` and `ratio` with intervals over all draws (`acc_low acc_high`), `steps_99` and
        the like as medians over draws (one that never gets there takes longer than all; NaN where
        half never do) with `reached_99` of them, `net` (accuracy above the undamaged model after
        the same training), and means of everything else.
    """
    lines = pd.DataFrame([_line(key, part) for key, part in groups(assessed(rows), KEYS)])
    return lines.assign(net=list(_net(lines)))


def groups(table: pd.DataFrame, keys: list[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The parts of a table that share some columns, with those columns, in order of appearance."""
    parts = [part for _, part in table.groupby(keys, sort=False)]
    return [(records(part[keys].head(1))[0], part) for part in parts]


def damages_of(table: pd.DataFrame) -> pd.DataFrame:
    """The rows or lines that are no controls."""
    return pd.DataFrame(table[~table["damage"].isin(CONTROLS)])


def strategy_title(line: Mapping[str, Any]) -> str:
    """`Retrain all`, with its recipe where that is not the usual one."""
    title, recipe = strategy_named(line["strategy"]).title, line["optimizer"]
    return title if recipe in ("", Tuning.optimizer) else f"{title} ({recipe})"


def _of_row(row: dict[str, Any]) -> dict[str, Any]:
    original, damaged, after = row["acc_original"], row["acc_damaged"], row["acc_repaired"]
    ratio = recovery_ratio(original, damaged, after, row["drop_error"])
    curve = json.loads(row["curve"])
    level = row["curve_original"] if curve else original  # on the same images
    curve = curve or [{"step": 0.0, "acc": after}]
    steps, acc = [point["step"] for point in curve], [point["acc"] for point in curve]
    is_ok = row["status"] == "ok"
    area = math.nan if ratio is None or is_ok else 1.0  # inside the noise nothing is divided
    if is_ok and ratio is not None and len(steps) > 1:
        area = _area(row, steps, acc)
    return {
        "ratio": math.nan if ratio is None else ratio,
        "in_noise": ratio is None,
        "retained": after / original if original else math.nan,
        "area": area,
        **{
            f"steps_{100 * q:.0f}": _sustained(steps, acc, q * level) if is_ok else math.inf
            for q in _LEVELS
        },
    }


def _area(row: dict[str, Any], steps: list[float], acc: list[float]) -> float:
    """Of a curve, by what was lost on its own images; NaN where they do not show the damage."""
    original, damaged, error = (row[name] for name in _OF_CURVE)
    if recovery_ratio(original, damaged, damaged, error) is None:
        return math.nan
    return resilience_loss(steps, acc, original, damaged)


def _sustained(steps: list[float], acc: list[float], level: float) -> float:
    """When the accuracy is there to stay; infinite if not in this training: censored."""
    time = sustained_time(steps, acc, level)
    return math.inf if time is None else time


def _line(key: dict[str, Any], part: pd.DataFrame) -> dict[str, Any]:
    failures = part.loc[part["status"] != "ok", "status"]
    all_failed, reason = len(failures) == len(part), str(next(iter(failures), ""))
    acc, ratio = (NOTHING, NOTHING) if all_failed else (_share(part, "acc_repaired"), _ratio(part))
    return {
        **key, "draws": len(part), "failed": len(failures),
        "status": reason if all_failed else "ok", "reason": reason,
        **acc.columns("acc"), **ratio.columns("ratio"),
        **bounded(_over_seeds(part, "seconds"), 0, math.inf).columns("seconds"),
        **bounded(_over_seeds(part, "asr_repaired"), 0, 1).columns("asr_repaired"),
        **bounded(_over_seeds(part, "loss_repaired"), 0, math.inf).columns("loss"),
        **_share(part, "negative_flips").columns("negative_flips"),
        **_share(part, "positive_flips").columns("positive_flips"),
        "notes": " ".join(dict.fromkeys(note for note in part["note"] if isinstance(note, str))),
        "in_noise": bool(part["in_noise"].mean() > 0.5),
        **{name: float(part[name].mean()) for name in _MEANS},
        **_times(part),
    }  # fmt: skip


def _times(rows: pd.DataFrame) -> dict[str, float]:
    """Medians of times of which some are only known to be longer than the training."""
    times: dict[str, float] = {}
    for level in _LEVELS:
        name = f"{100 * level:.0f}"
        median = float(np.median(rows[f"steps_{name}"]))
        times[f"steps_{name}"] = median if math.isfinite(median) else math.nan
        times[f"reached_{name}"] = int(np.isfinite(rows[f"steps_{name}"]).sum())
    return times


def _share(rows: pd.DataFrame, name: str) -> Interval:
    """Over draws, cut at 0 and 1; of one draw, or of draws that agree, over the test images."""
    over_draws = bounded(_over_seeds(rows, name), 0.0, 1.0)
    if math.isfinite(over_draws.low) or not math.isfinite(over_draws.value):
        return over_draws
    n = int(rows["n"].iloc[0])
    return rate(round(n * over_draws.value), n)._replace(value=over_draws.value)


def _ratio(rows: pd.DataFrame) -> Interval:
    """Over draws, cut at what no and every correct answer would be."""
    measured = rows[np.isfinite(rows["ratio"])]
    damaged, drop = measured["acc_damaged"], measured["acc_original"] - measured["acc_damaged"]
    low, high = float((-damaged / drop).mean()), float(((1 - damaged) / drop).mean())
    return bounded(_over_seeds(rows, "ratio"), low, high)


def bounded(interval: Interval, low: float, high: float) -> Interval:
    """The same value with ends that are possible; an interval without ends stays without."""
    if not math.isfinite(interval.low):
        return interval
    return Interval(interval.value, max(interval.low, low), min(interval.high, high))


def _over_seeds(rows: pd.DataFrame, number: str) -> Interval:
    """Over damage seeds; where each has several trainings, these are nested in them."""
    nested = [list(part[number]) for _, part in groups(rows, ["seed"])]
    several = max(map(len, nested), default=0) > 1
    return over_seeds(nested) if several else student(rows[number])


def _net(lines: pd.DataFrame) -> Iterator[float]:
    """Accuracy above that of the undamaged model after the same training."""
    control = {
        (line["subject"], line["optimizer"]): line["acc"]
        for line in records(lines)
        if line["damage"] == "none"
    }
    for line in records(lines):
        trained = control.get((line["subject"], line["optimizer"]), math.nan)
        yield line["acc"] - trained if strategy_named(line["strategy"]).trains else math.nan


def shared_rows(
    first: pd.DataFrame, second: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The rows of the draws that both have, and which repairs only one of them has."""
    keys = [pd.MultiIndex.from_frame(_paired(rows).filter(DRAW)) for rows in (first, second)]
    mine, its = (
        pd.DataFrame(first[keys[0].isin(keys[1])]),
        pd.DataFrame(second[keys[1].isin(keys[0])]),
    )
    known = [key for key, _ in groups(_paired(mine), KEYS)]
    lost = [
        f"{key['damage']} {key['severity']:g} {key['strategy']}"
        for rows in (first, second)
        for key, _ in groups(_paired(rows), KEYS)
        if key not in known
    ]
    names = ", ".join(dict.fromkeys(lost))
    return mine, its, [f"Left out, as only one has it: {names}."] if names else []


def differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after the same repair of the same draws, second minus first.

    Args:
        first: from `shared_rows`.
        second: the same draws of another model.

    Returns:
        `KEYS`, `first second` and `difference low high`, a line a repair; a draw that failed counts
        as the damage that is left.
    """
    parts = [_paired(damages_of(assessed(rows))) for rows in (first, second)]
    both = parts[0].merge(parts[1], on=DRAW)
    lines = []
    for key, part in groups(both, KEYS):
        mine, its = part["acc_repaired_x"], part["acc_repaired_y"]
        change = dict(zip(("difference", "low", "high"), student(its - mine), strict=True))
        lines.append({**key, "first": mine.mean(), "second": its.mean(), **change})
    return pd.DataFrame(lines)


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a single model pair with those of any other."""
    return rows if rows["subject"].nunique() > 1 else rows.assign(subject="")
