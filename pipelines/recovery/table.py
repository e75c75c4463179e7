"""Rows of many repairs reduced to one line each, with intervals over damage and training seeds."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from callbacks.damage.assessment import recovery_ratio, resilience_loss, sustained_time
from callbacks.statistics import Interval, student
from pipelines.recovery.strategies import STRATEGIES

KEYS = ["subject", "damage", "severity", "strategy", "optimizer"]
_LEVELS = (0.90, 0.95, 0.99)
_MEANS = (
    "acc_original", "acc_damaged", "retained", "negative_flips", "agreement", "area", "seconds",
    "steps", "samples", "labels", "images", "flops", "memory", "storage_bits",
    "steps_90", "steps_95", "steps_99",
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
    found = [_of_row(row) for row in rows.to_dict("records")]
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
    table = assessed(rows)
    lines = [
        _line(dict(zip(KEYS, key, strict=True)), part)
        for key, part in table.groupby(KEYS, sort=False)
    ]
    made = pd.DataFrame(lines)
    return made.assign(net=list(_net(made)))


def recommendations(lines: pd.DataFrame) -> pd.DataFrame:
    """The repair to take for each damage: what needs least among those that are not worse.

    Args:
        lines: of `summarised`.

    Returns:
        One line a subject, damage and severity: `strategy`, `acc`, `ratio` and `why`. A repair is
        not worse if its mean accuracy is within one point of the best.
    """
    found = []
    real = lines[~lines["damage"].isin(CONTROLS)]
    for key, part in real.groupby(["subject", "damage", "severity"], sort=False):
        able = part[(part["status"] == "ok") & (part["strategy"] != "restore_all")]
        about = dict(zip(("subject", "damage", "severity"), key, strict=True))
        if part["in_noise"].all():
            found.append(
                {
                    **about,
                    "strategy": "nothing",
                    **_worth(part, "nothing"),
                    "why": "inside the noise",
                }
            )
            continue
        close = able[able["acc"] >= able["acc"].max() - 0.01]
        order = close.assign(known=[_needs(name) for name in close["strategy"]], gone=-close["acc"])
        best = order.sort_values(["known", "gone", "flops"]).iloc[0]
        why = f"knows {', '.join(sorted(STRATEGIES[best['strategy']].knows)) or 'nothing'}"
        found.append(
            {
                **about,
                "strategy": best["strategy"],
                "acc": best["acc"],
                "ratio": best["ratio"],
                "why": why,
            }
        )
    return pd.DataFrame(found)


def _needs(strategy: str) -> float:
    """How much a strategy asks for; a copy of the original and clean data are the dearest."""
    price = {"original": 4.0, "clean data": 4.0, "labels": 2.0, "location": 1.5, "images": 1.0}
    return sum(price.get(one, 0.5) for one in STRATEGIES[strategy].knows)


def _worth(part: pd.DataFrame, strategy: str) -> dict[str, float]:
    one = part[part["strategy"] == strategy]
    return {"acc": float(one["acc"].mean()), "ratio": math.nan}


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
    able = part if len(bad) == len(part) else part[part["status"] == "ok"]
    acc, ratio = student(able["acc_repaired"]), student(able["ratio"])
    acc = Interval(acc.value, max(acc.low, 0.0), min(acc.high, 1.0))  # a rate, of few draws
    if len(bad) == len(part):
        acc = Interval(math.nan, math.nan, math.nan)
    return {
        **key, "draws": len(part), "failed": len(bad),
        "status": "ok" if len(bad) < len(part) else str(bad.iloc[0]),
        **_ends("acc", acc), **_ends("ratio", ratio),
        "in_noise": bool(part["in_noise"].mean() > 0.5),
        **{name: float(able[name].mean()) for name in _MEANS},
    }  # fmt: skip


def _ends(name: str, number: Interval) -> dict[str, float]:
    return {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}


def _net(lines: pd.DataFrame) -> Iterator[float]:
    """Accuracy above that of the undamaged model after the same training."""
    control = lines[lines["damage"] == "none"].set_index(["subject", "optimizer"])["acc"]
    for line in lines.itertuples():
        trained = STRATEGIES[str(line.strategy)].trains
        key = (line.subject, line.optimizer)
        yield line.acc - control[key] if trained and key in control.index else math.nan  # type: ignore[operator]
