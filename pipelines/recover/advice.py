"""Which repair to take for each damage, and why: how it stands to the next best, and its cost."""

import math
from typing import Any

import pandas as pd

from callbacks.results import records
from callbacks.statistics import NOTHING, Interval, student
from callbacks.words import amount, number
from pipelines.recover.strategies import strategy_named
from pipelines.recover.table import KEYS, assessed, damages_of, groups, strategy_title

_PRICES = {"original": 4.0, "clean data": 4.0, "labels": 2.0, "location": 1.5, "images": 1.0}
"""How dear knowledge is; what is stored beforehand costs a half."""
_CLOSE = 0.01
"""What is this near to the best is not worse: a point."""
Line = dict[str, Any]


def recommended(rows: pd.DataFrame, lines: pd.DataFrame) -> list[Line]:
    """The repair to take for each damage: what needs least among those that are not worse.

    Args:
        rows: as `repaired` makes them.
        lines: of `summarised`.

    Returns:
        Of each subject, damage and severity the line of a repair, `why`, the `rival` (title of the
        next best repair, empty if there is none), the `gain` on it with `gain_low` and `gain_high`
        (accuracy less the success of a backdoor, paired by draws of the damage), and `against`,
        which says whether that is beyond chance. A repair is not worse if its mean is within one
        point of the best.
    """
    merits = _merits(damages_of(assessed(rows)))
    parts = groups(damages_of(lines), ["subject", "damage", "severity"])
    return [_recommended(records(part), merits) for _, part in parts]


def _recommended(lines: list[Line], merits: pd.Series) -> Line:
    hidden = any(line["asr_damaged"] > 0.5 for line in lines)  # accuracy does not show a backdoor
    if all(line["in_noise"] for line in lines) and not hidden:
        idle = next((line for line in lines if line["strategy"] == "nothing"), lines[0])
        none = {"rival": "", "against": "", **NOTHING.columns("gain")}
        return {**idle, **none, "why": "damage inside the noise"}
    usable = [line for line in lines if line["status"] == "ok"]
    ranked = sorted(usable, key=_merit, reverse=True)
    ranked = [line for line in ranked if line["strategy"] != "restore_all"]
    close = [line for line in ranked if _merit(line) >= _merit(ranked[0]) - _CLOSE]
    best = min(close, key=lambda line: (_price(line["strategy"]), -line["acc"], line["flops"]))
    rival = next((line for line in ranked if line is not best), None)
    gain = NOTHING if rival is None else _gain(merits, best, rival)
    choice = "most comes back" if best is ranked[0] else "asks for least of those within a point"
    if best["strategy"] == "nothing":
        choice = "no repair is better by more than a point"
    against = "" if rival is None else _against(rival, gain, best["draws"])
    return {
        **best, "rival": strategy_title(rival) if rival else "", **gain.columns("gain"),
        "against": against, "why": "; ".join(filter(None, (choice, against, _cost(best)))),
    }  # fmt: skip


def _merits(rows: pd.DataFrame) -> pd.Series:
    """Of each draw of the damage: the mean of its trainings, which are nested in it."""
    merit = rows["acc_repaired"] - rows["asr_repaired"].fillna(0.0)
    return merit.groupby([rows[key] for key in (*KEYS, "seed")]).mean()


def _merit(line: Line) -> float:
    """Accuracy, less how often a backdoor still works."""
    success = line["asr_repaired"]
    return line["acc"] - (0.0 if math.isnan(success) else success)


def _gain(merits: pd.Series, best: Line, rival: Line) -> Interval:
    """Over the draws that both were tried on."""
    mine, its = (merits.loc[tuple(line[key] for key in KEYS)] for line in (best, rival))
    return student((mine - its).dropna())


def _against(rival: Line, gain: Interval, draws: int) -> str:
    """Whether the difference to the next best is beyond chance, paired over draws."""
    name = f"“{strategy_title(rival)}”"
    if not math.isfinite(gain.low):
        if draws > 1 and gain.value == 0:
            return f"the same as by {name} in every draw"
        of = "one draw tells" if draws == 1 else "draws that agree tell"
        return f"not tested against {name}: {of} no spread"
    if gain.low > 0 or gain.high < 0:
        return f"significantly {'more' if gain.low > 0 else 'less'} than by {name}"
    return f"no significant difference to {name}"


def _cost(line: Line) -> str:
    """`0.21 seconds, 640 labels; knows labels, location`."""
    if line["strategy"] == "nothing":
        return ""
    labels = f", {amount(line['labels'])} labels" if line["labels"] else ""
    knows = ", ".join(sorted(strategy_named(line["strategy"]).knows)) or "nothing"
    return f"{number(line['seconds'], 2)} seconds{labels}; knows {knows}"


def _price(strategy: str) -> float:
    """How much a strategy asks for; a copy of the original and clean data are the dearest."""
    return sum(_PRICES.get(known, 0.5) for known in strategy_named(strategy).knows)
