"""Rows of many repairs reduced to one line each, with intervals over damage and training seeds."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from callbacks.damage.assessment import (
    over_seeds,
    recovery_ratio,
    resilience_loss,
    sustained_time,
)
from callbacks.results import records
from callbacks.statistics import Interval, student
from pipelines.recover.strategies import STRATEGIES

KEYS = ["subject", "damage", "severity", "strategy", "optimizer"]
_LEVELS = (0.90, 0.95, 0.99)
_MEANS = (
    "acc_original", "acc_damaged", "retained", "negative_flips", "agreement", "area", "seconds",
    "steps", "samples", "labels", "images", "flops", "memory", "storage_bits",
    "steps_90", "steps_95", "steps_99", "asr_damaged", "asr_repaired",
)  # fmt: skip
CONTROLS = ("none", "scratch")
"""Damages that are controls: the undamaged model and a fresh one, trained as long as repairs."""


def assessed(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds to every row what it says about the recovery.

    Args:
        rows: as `repaired` makes them.

    Returns:
        The rows with `ratio` (NaN where the damage is inside the noise), `in_noise`, `retained`,
        `area` (resilience loss, normalised) and `steps_90`, `steps_95`, `steps_99`: optimizer steps
        after which the accuracy stays at that share of the original's; NaN where it never does.
    """
    found = [_of_row(row) for row in records(rows)]
    return rows.assign(**{name: [one[name] for one in found] for name in found[0]})


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a subject, damage, severity, strategy and optimizer.

    Args:
        rows: as `repaired` makes them; several seeds each.

    Returns:
        `KEYS`, `draws`, `status` (the first that is not ok), `acc` and `ratio` with intervals over
        the draws (`acc_low acc_high`), `net` (accuracy above the undamaged model after the same
        training), and means of everything else.
    """
    made = pd.DataFrame([_line(key, part) for key, part in groups(assessed(rows), KEYS)])
    return made.assign(net=list(_net(made)))


def groups(table: pd.DataFrame, keys: list[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The parts of a table that share some columns, with those columns, in order of appearance."""
    parts = [part for _, part in table.groupby(keys, sort=False)]
    return [(records(part[keys].head(1))[0], part) for part in parts]


def recommendations(lines: pd.DataFrame) -> pd.DataFrame:
    """The repair to take for each damage: what needs least among those that are not worse.

    Args:
        lines: of `summarised`.

    Returns:
        One line a subject, damage and severity: `strategy`, `acc`, `ratio` and `why`. A repair is
        not worse if its mean accuracy is within one point of the best.
    """
    real = lines[~lines["damage"].isin(CONTROLS)]
    parts = groups(pd.DataFrame(real), ["subject", "damage", "severity"])
    return pd.DataFrame([{**key, **_best(records(part))} for key, part in parts])


def _best(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What needs least among the repairs that are within a point of the best."""
    hidden = any(line["asr_damaged"] > 0.5 for line in lines)  # accuracy does not show a backdoor
    if all(line["in_noise"] for line in lines) and not hidden:
        kept = next((line for line in lines if line["strategy"] == "nothing"), lines[0])
        return {**_worth(kept), "strategy": "nothing", "why": "damage inside the noise"}
    able = [line for line in lines if line["status"] == "ok" and line["strategy"] != "restore_all"]
    most = max(map(_merit, able))
    close = [line for line in able if _merit(line) >= most - 0.01]
    best = min(close, key=lambda line: (_needs(line["strategy"]), -line["acc"], line["flops"]))
    knows = ", ".join(sorted(STRATEGIES[best["strategy"]].knows)) or "nothing"
    return {**_worth(best), "strategy": best["strategy"], "why": f"knows {knows}"}


def _merit(line: dict[str, Any]) -> float:
    """Accuracy, less how often a backdoor still works."""
    success = line["asr_repaired"]
    return line["acc"] - (0.0 if math.isnan(success) else success)


def _worth(line: dict[str, Any]) -> dict[str, float]:
    return {"acc": line["acc"], "ratio": line["ratio"]}


def _needs(strategy: str) -> float:
    """How much a strategy asks for; a copy of the original and clean data are the dearest."""
    price = {"original": 4.0, "clean data": 4.0, "labels": 2.0, "location": 1.5, "images": 1.0}
    return sum(price.get(one, 0.5) for one in STRATEGIES[strategy].knows)


def _of_row(row: dict[str, Any]) -> dict[str, Any]:
    original, hurt, after = row["acc_original"], row["acc_damaged"], row["acc_repaired"]
    ratio = recovery_ratio(original, hurt, after, row["drop_error"])
    curve = json.loads(row["curve"]) or [{"step": 0.0, "acc": after}]
    steps, acc = [one["step"] for one in curve], [one["acc"] for one in curve]
    able = row["status"] == "ok"
    return {
        "ratio": ratio if able and ratio is not None else math.nan,
        "in_noise": ratio is None,
        "retained": after / original if original else math.nan,
        "area": resilience_loss(steps, acc, original, hurt)
        if able and len(steps) > 1
        else math.nan,
        **{f"steps_{100 * q:.0f}": _sustained(steps, acc, q * original) for q in _LEVELS},
    }


def _sustained(steps: list[float], acc: list[float], level: float) -> float:
    found = sustained_time(steps, acc, level)
    return math.nan if found is None else found


def _line(key: dict[str, Any], part: pd.DataFrame) -> dict[str, Any]:
    bad = part.loc[part["status"] != "ok", "status"]
    able = part if len(bad) == len(part) else pd.DataFrame(part[part["status"] == "ok"])
    acc, ratio = _over_seeds(able, "acc_repaired"), _over_seeds(able, "ratio")
    acc = Interval(acc.value, max(acc.low, 0.0), min(acc.high, 1.0))  # a rate, of few draws
    if len(bad) == len(part):
        acc = Interval(math.nan, math.nan, math.nan)
    return {
        **key, "draws": len(part), "failed": len(bad),
        "status": "ok" if len(bad) < len(part) else str(bad.iloc[0]),
        **acc.columns("acc"), **ratio.columns("ratio"),
        "in_noise": bool(part["in_noise"].mean() > 0.5),
        **{name: float(able[name].mean()) for name in _MEANS},
    }  # fmt: skip


def _over_seeds(rows: pd.DataFrame, number: str) -> Interval:
    """Over damage seeds; where each has several trainings, these are nested in them."""
    nested = [list(part[number]) for _, part in groups(rows, ["seed"])]
    if max(map(len, nested), default=0) > 1:
        return over_seeds(nested)
    return student(rows[number])


def _net(lines: pd.DataFrame) -> Iterator[float]:
    """Accuracy above that of the undamaged model after the same training."""
    control = {
        (line["subject"], line["optimizer"]): line["acc"]
        for line in records(lines)
        if line["damage"] == "none"
    }
    for line in records(lines):
        trained = control.get((line["subject"], line["optimizer"]), math.nan)
        yield line["acc"] - trained if STRATEGIES[line["strategy"]].trains else math.nan
