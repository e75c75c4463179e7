"""Two recoveries side by side: the repairs that both were asked for, draw by draw."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from callbacks.statistics import student
from pipelines.recover.table import damages_of, groups

CONDITIONS = ("effort", "stored_in", "layers", "limit")
"""Settings that two models must share for their repairs to be comparable."""
_REPAIR = ["subject", "damage", "severity", "strategy", "optimizer"]
_DRAW = [*_REPAIR, "seed", "training_seed"]
Settings = Mapping[str, Mapping[str, Any]]


def asked_otherwise(one: Settings, other: Settings, shared: pd.DataFrame) -> list[str]:
    """Says why the repairs of two recoveries cannot be compared, if so."""
    pairs = list(zip(one.values(), other.values(), strict=False))
    names = [name for name in CONDITIONS if any(a.get(name) != b.get(name) for a, b in pairs)]
    if names:
        return [f"Other {' and '.join(names)}: nothing is compared repair by repair."]
    return ["They share no draw of any damage."] if damages_of(shared).empty else []


def shared_rows(
    one: pd.DataFrame, other: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The rows of the draws that both have, and which repairs only one of them has."""
    keys = [pd.MultiIndex.from_frame(_paired(rows).filter(_DRAW)) for rows in (one, other)]
    mine, its = pd.DataFrame(one[keys[0].isin(keys[1])]), pd.DataFrame(other[keys[1].isin(keys[0])])
    wanted, known = ([key for rows in tables for key, _ in groups(_paired(rows), _REPAIR)]
                     for tables in ((one, other), (mine,)))  # fmt: skip
    lost = [f"{x['damage']} {x['severity']:g} {x['strategy']}" for x in wanted if x not in known]
    names = ", ".join(dict.fromkeys(lost))
    return mine, its, [f"Left out, as only one has it: {names}."] if names else []


def differences(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Accuracy after the same repair of the same draws, other minus one.

    Args:
        one: from `shared_rows`.
        other: the same draws of another model.

    Returns:
        `damage severity strategy optimizer one other difference low high`, a line a repair; draws
        that failed in either are left out.
    """
    both = _paired(damages_of(one)).merge(_paired(damages_of(other)), on=_DRAW)
    both = pd.DataFrame(both[(both["status_x"] == "ok") & (both["status_y"] == "ok")])
    lines = []
    for key, part in groups(both, _REPAIR):
        mine, its = part["acc_repaired_x"], part["acc_repaired_y"]
        change = dict(zip(("difference", "low", "high"), student(its - mine), strict=True))
        lines.append({**key, "one": mine.mean(), "other": its.mean(), **change})
    return pd.DataFrame(lines)


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a single model pair with those of any other."""
    return rows if rows["subject"].nunique() > 1 else rows.assign(subject="")
