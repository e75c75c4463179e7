"""All cells together, and every table that is made of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from callbacks.statistics import Interval, paired_difference
from callbacks.transfer import (
    NUMBERS,
    class_performance,
    performance,
    performance_change,
    rank_intervals,
    variability,
    weighted_tau,
)
from pipelines.transfer.cell import Outcome
from pipelines.transfer.recipe import MODES

_RESAMPLES = 300


class Key(NamedTuple):
    """A group of cells that differ by the seed only."""

    model: str
    data: str
    mode: str
    fraction: str


@dataclass(frozen=True)
class Matrix:
    """What was measured.

    Args:
        outcomes: of all cells, failed ones included.
        classes: of every data set, by its name.
        own_head: whether a model's own head answers a data set, by both names.
        scores: predicted transfer, by model and data; None where it could not be computed.
    """

    outcomes: Sequence[Outcome]
    classes: Mapping[str, tuple[str, ...]]
    own_head: Mapping[tuple[str, str], bool]
    scores: Mapping[tuple[str, str], Mapping[str, float]]

    @cached_property
    def groups(self) -> dict[Key, list[Outcome]]:
        """Cells that succeeded, by everything but the seed."""
        found: dict[Key, list[Outcome]] = {}
        for one in self.outcomes:
            if one.status == "ok":
                cell = one.cell
                key = Key(cell.model, cell.data, cell.mode, cell.fraction)
                found.setdefault(key, []).append(one)
        return found

    @property
    def models(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(one.cell.model for one in self.outcomes))

    @property
    def tasks(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(one.cell.data for one in self.outcomes))

    @property
    def fractions(self) -> list[str]:
        """In their order, those of untouched cells aside."""
        cells = [one.cell for one in self.outcomes if one.cell.mode != "untouched"]
        return list(dict.fromkeys(cell.fraction for cell in cells)) or ["all"]

    @property
    def failed(self) -> list[Outcome]:
        """Cells that failed."""
        return [one for one in self.outcomes if one.status != "ok"]

    def before(self, key: Key) -> Key | None:
        """What a mode is compared with: the own head; for new classes a probe of equal budget.

        A source head cannot answer new classes, so their `before` is the linear probe where it was
        measured, else the head read by LEEP's empirical conditional.
        """
        untouched = Key(key.model, key.data, "untouched", "all")
        probe = key._replace(mode="probe")
        mine = self.own_head.get((key.model, key.data), False)
        first = untouched if mine or key.mode == "probe" else probe
        choices = [one for one in (first, untouched) if one in self.groups and one != key]
        return choices[0] if choices else None

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One row a cell, failed ones included."""
        return pd.DataFrame(
            [_cell_line(one, len(self.classes[one.cell.data])) for one in self.outcomes]
        )

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """One row a group: every number before and after, and its change with a paired interval."""
        lines = []
        for key, outcomes in self.groups.items():
            classes = len(self.classes[key.data])
            after = [one.rows for one in outcomes]
            line = {**key._asdict(), "seeds": len(after), "samples": outcomes[0].samples}
            line |= _flat(performance(after, classes, resamples=_RESAMPLES))
            if (start := self.before(key)) is not None:
                rows = [one.rows for one in self.groups[start]]
                change = performance_change(rows, after, classes, resamples=_RESAMPLES)
                line |= {"before": start.mode, **_flat(change, "change_")}
            accuracies = [table["correct"].mean() for table in after]
            line["seed_spread"] = np.std(accuracies, ddof=1) if len(after) > 1 else np.nan
            line |= _means(outcomes)
            lines.append(line)
        return pd.DataFrame(lines)

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """One row a group and class: precision, recall and F1, averaged over seeds."""
        tables = []
        for key, outcomes in self.groups.items():
            parts = [class_performance(one.rows, self.classes[key.data]) for one in outcomes]
            table = parts[0].copy()
            for name in ("precision", "recall", "f1"):
                table[name] = np.mean([part[name] for part in parts], axis=0)
            tables.append(table.assign(**key._asdict()))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def variability(self) -> pd.DataFrame:
        """One row a model, mode and fraction: mean, spread and worst case over the data sets."""
        lines = []
        for model, mode, fraction in dict.fromkeys(
            (k.model, k.mode, k.fraction) for k in self.groups
        ):
            keys = [Key(model, task, mode, fraction) for task in self.tasks]
            accuracy = {
                key.data: [float(one.rows["correct"].mean()) for one in self.groups[key]]
                for key in keys
                if key in self.groups
            }
            found = variability(accuracy)
            line = {"model": model, "mode": mode, "fraction": fraction, "tasks": len(accuracy)}
            line |= _flat({"average": found.average})
            lines.append({**line, **found._asdict(), "average": found.average.value})
        return pd.DataFrame(lines)

    @cached_property
    def predicted(self) -> pd.DataFrame:
        """One row a model and data set: every score."""
        lines = [{"model": m, "data": d, **scores} for (m, d), scores in self.scores.items()]
        return pd.DataFrame(lines)

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """One row a data set, mode and score: weighted Kendall tau over the models."""
        lines = []
        for data, mode in dict.fromkeys((k.data, k.mode) for k in self.groups):
            if mode == "untouched":
                continue
            truth = self._truth(data, mode)
            for score in dict.fromkeys(name for one in self.scores.values() for name in one):
                scores = [self.scores.get((m, data), {}).get(score, np.nan) for m in truth]
                tau = weighted_tau(scores, list(truth.values()))
                if np.isfinite(tau.value):
                    line = {"data": data, "mode": mode, "score": score, "models": len(truth)}
                    lines.append({**line, **_flat({"tau": tau})})
        return pd.DataFrame(lines)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """One row a data set, mode, fraction and model: its rank among the models."""
        lines = []
        for data, mode, fraction in dict.fromkeys(
            (k.data, k.mode, k.fraction) for k in self.groups
        ):
            keys = [Key(model, data, mode, fraction) for model in self.models]
            keys = [key for key in keys if key in self.groups]
            if len(keys) > 1:
                ranks = rank_intervals([self._hits(key) for key in keys])
                for key, rank in zip(keys, ranks, strict=True):
                    lines.append({**key._asdict(), "of": len(keys), **_flat({"rank": rank})})
        return pd.DataFrame(lines)

    @cached_property
    def recommended(self) -> pd.DataFrame:
        """One row a model, data set and fraction: the cheapest mode that no other surely beats."""
        lines = []
        for model in self.models:
            for data in self.tasks:
                lines += [
                    {"model": model, "data": data, "fraction": fraction, **line}
                    for fraction in self.fractions
                    if (line := self._recommendation(model, data, fraction))
                ]
        return pd.DataFrame(lines)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table that has a line, by file name."""
        names = ("cells", "comparison", "by_class", "variability", "predicted", "agreement")
        found = {name: getattr(self, name) for name in (*names, "ranking", "recommended")}
        return {name: table for name, table in found.items() if len(table)}

    def of_model(self, model: str, table: str) -> list[dict]:
        """The lines of a table that are about one model."""
        found = getattr(self, table)
        return found[found["model"] == model].to_dict("records") if len(found) else []

    def _recommendation(self, model: str, data: str, fraction: str) -> dict | None:
        keys = [
            Key(model, data, mode, "all" if mode == "untouched" else fraction) for mode in MODES
        ]
        hits = {key.mode: self._hits(key) for key in keys if key in self.groups}
        if not hits:
            return None
        best = max(hits, key=lambda mode: hits[mode].mean())
        for mode, mine in hits.items():  # by growing cost
            gain = paired_difference(mine, hits[best])
            if gain.low <= 0:
                other = "" if mode == best else best
                return {
                    "mode": mode,
                    "acc": float(mine.mean()),
                    "best": other,
                    **_flat({"gain": gain}),
                }
        return None

    def _hits(self, key: Key) -> np.ndarray:
        """`(N,)` share of seeds that got each test image right."""
        tables = [one.rows.sort_values("index") for one in self.groups[key]]
        return np.mean([table["correct"].to_numpy() for table in tables], axis=0)

    def _truth(self, data: str, mode: str) -> dict[str, float]:
        """Accuracy by model, with the last of the fractions it was measured with."""
        found = {}
        for key in self.groups:
            if (key.data, key.mode) == (data, mode):
                found[key.model] = float(self._hits(key).mean())
        return found


def _cell_line(one: Outcome, classes: int) -> dict:
    cell = one.cell
    line = {"model": cell.model, "data": cell.data, "mode": cell.mode, "fraction": cell.fraction}
    line |= {"seed": cell.seed, "status": one.status, "samples": one.samples}
    if one.status == "ok":
        numbers = performance([one.rows], classes, resamples=1)
        line |= {name: number.value for name, number in numbers.items()}
    line |= {"val_acc": one.val_acc, "seconds": one.seconds, "strength": one.strength}
    return {**line, **_means([one]), "error": one.error}


def _means(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Distance, what was forgotten and accuracy under probes, averaged over seeds."""
    found: dict[str, list[float]] = {}
    for one in outcomes:
        numbers = {"distance": one.distance.get("", np.nan)}
        if one.similarity:
            numbers["cka_last"] = list(one.similarity.values())[-1]
        numbers |= {f"forgot_{k}": v for k, v in one.forgotten.items()}
        numbers |= {f"{probe}_acc": values[0] for probe, values in one.robust.items()}
        for name, value in numbers.items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _flat(numbers: Mapping[str, Interval], prefix: str = "") -> dict[str, float]:
    """`acc acc_low acc_high` of an interval named `acc`."""
    found: dict[str, float] = {}
    for name, one in numbers.items():
        found |= one.columns(f"{prefix}{name}")
    return found


__all__ = ["NUMBERS", "Key", "Matrix"]
