"""All cells together, and every table that is made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from callbacks.results import records
from callbacks.transfer import (
    PowerLaw,
    Sufficiency,
    class_performance,
    performance,
    performance_change,
    rank_intervals,
    sufficiency,
    variability,
    weighted_tau,
)
from pipelines.transfer.cell import Outcome
from pipelines.transfer.lines import Line, cell_line, columns_of, means, recommendation
from pipelines.transfer.recipe import MODES

_RESAMPLES = 300
_OVER_CELLS = ("cells", "comparison", "by_class", "variability", "recommended", "sufficiency")
_OVER_MODELS = ("predicted", "agreement", "ranking")


class Key(NamedTuple):
    """What cells share that differ by the seed only."""

    model: str
    data: str
    mode: str
    fraction: str


def key_of(line: Line) -> Key:
    """Of a line that names all four."""
    return Key(*(line[name] for name in Key._fields))


class PairFacts(NamedTuple):
    """What is known of a model and a data set before anything is moved.

    Args:
        model: name.
        data: name.
        own_head: whether the model's own head answers the data's classes.
        scores: predicted transfer; empty where it could not be computed.
    """

    model: str
    data: str
    own_head: bool
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Grid:
    """What was measured, and the tables of it.

    Args:
        outcomes: of all cells, failed ones included.
        pairs: models and data sets.
        classes: of every data set.
        images: digest of every data set's test images, more of which may be used by another grid.
        asked: what each mode was told to do; two grids are compared where that is equal.
        given: tables that hold more models than these outcomes do; see `of`.
        wanted: accuracy that learning curves are carried on to.
    """

    outcomes: Sequence[Outcome]
    pairs: Sequence[PairFacts]
    classes: Mapping[str, Sequence[str]]
    images: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    wanted: float = 0.95

    @property
    def title(self) -> str:
        """`lenet moved to Digits`."""
        models, tasks = self.models, self.tasks
        what = models[0] if len(models) == 1 else f"{len(models)} models"
        where = ", ".join(tasks) if len(tasks) < 4 else f"{len(tasks)} data sets"
        return f"{what} moved to {where}"

    @cached_property
    def cells_by_key(self) -> dict[Key, list[Outcome]]:
        """Cells that succeeded, those of all seeds together."""
        grouped: dict[Key, list[Outcome]] = {}
        for outcome in self.outcomes:
            if outcome.status == "ok":
                grouped.setdefault(Key(*outcome.transfer[:4]), []).append(outcome)
        return grouped

    @property
    def models(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(outcome.transfer.model for outcome in self.outcomes))

    @property
    def tasks(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(outcome.transfer.data for outcome in self.outcomes))

    @property
    def fractions(self) -> list[str]:
        """In their order, those of untouched cells aside."""
        moved = [o.transfer.fraction for o in self.outcomes if o.transfer.mode != "untouched"]
        return list(dict.fromkeys(moved)) or ["all"]

    @property
    def failed(self) -> list[Outcome]:
        """Cells that failed."""
        return [outcome for outcome in self.outcomes if outcome.status != "ok"]

    def of(self, model: str) -> "Grid":
        """The cells of one model, which keeps its rank and the scores' agreement among all."""
        ranking = self.ranking
        mine = ranking.loc[ranking["model"] == model] if len(ranking) else ranking
        return replace(
            self,
            outcomes=[o for o in self.outcomes if o.transfer.model == model],
            pairs=[pair for pair in self.pairs if pair.model == model],
            given={"agreement": self.agreement, "ranking": mine.reset_index(drop=True)},
        )

    def before(self, key: Key) -> Key | None:
        """What a mode is compared with: the own head; for new classes a probe of equal budget.

        A source head cannot answer new classes, so their `before` is the linear probe where it was
        measured, else the head read by LEEP's empirical conditional.
        """
        untouched = Key(key.model, key.data, "untouched", "all")
        own = any(pair.own_head for pair in self.pairs if pair[:2] == key[:2])
        first = untouched if own or key.mode == "probe" else key._replace(mode="probe")
        choices = [
            measured
            for measured in (first, untouched)
            if measured in self.cells_by_key and measured != key
        ]
        return choices[0] if choices else None

    def lines(self, table: str) -> list[Line]:
        """The lines of a table by column name."""
        return records(getattr(self, table))

    def last(self, table: str) -> list[Line]:
        """The lines with the last of the fractions, and those of untouched models."""
        lines = self.lines(table)
        last = self.fractions[-1]
        return [x for x in lines if x["mode"] == "untouched" or x["fraction"] == last]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Every table that has a line, by name."""
        names = (*_OVER_CELLS, *_OVER_MODELS)
        return {name: table for name in names if len(table := getattr(self, name))}

    def hits(self, key: Key) -> np.ndarray:
        """`(N,)` share of seeds that got each test image right."""
        tables = [measured.rows.sort_values("index") for measured in self.cells_by_key[key]]
        return np.mean([table["correct"].to_numpy() for table in tables], axis=0)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """One line a cell, failed ones included."""
        return pd.DataFrame(
            [
                cell_line(measured, len(self.classes[measured.transfer.data]))
                for measured in self.outcomes
            ]
        )

    @cached_property
    def comparison(self) -> pd.DataFrame:
        """Every number before and after, and its change with a paired interval, over seeds."""
        lines = []
        for key, outcomes in self.cells_by_key.items():
            classes = len(self.classes[key.data])
            after = [outcome.rows for outcome in outcomes]
            line = {**key._asdict(), "seeds": len(after), "samples": outcomes[0].samples}
            line |= columns_of(performance(after, classes, resamples=_RESAMPLES))
            if (start := self.before(key)) is not None:
                rows = [outcome.rows for outcome in self.cells_by_key[start]]
                change = performance_change(rows, after, classes, resamples=_RESAMPLES)
                line |= {"before": start.mode, **columns_of(change, "change_")}
            several = len(outcomes) > 1
            spread = np.std([o.accuracy for o in outcomes], ddof=1) if several else np.nan
            lines.append({**line, "seed_spread": spread, **means(outcomes)})
        return pd.DataFrame(lines)

    @cached_property
    def by_class(self) -> pd.DataFrame:
        """Precision, recall and F1 of each class, averaged over seeds."""
        tables = []
        for key, outcomes in self.cells_by_key.items():
            parts = [
                class_performance(measured.rows, self.classes[key.data]) for measured in outcomes
            ]
            numbers = {n: np.mean([p[n] for p in parts], 0) for n in ("precision", "recall", "f1")}
            tables.append(parts[0].assign(**numbers, **key._asdict()))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @cached_property
    def variability(self) -> pd.DataFrame:
        """Mean, spread and worst case over the data sets, by model, mode and fraction."""
        accuracies: dict[tuple[str, str, str], dict[str, list[float]]] = {}
        for (model, data, mode, fraction), outcomes in self.cells_by_key.items():
            by_task = accuracies.setdefault((model, mode, fraction), {})
            by_task[data] = [outcome.accuracy for outcome in outcomes]
        lines = []
        for (model, mode, fraction), by_task in accuracies.items():
            indices = variability(by_task)
            line = {"model": model, "mode": mode, "fraction": fraction, "tasks": len(by_task)}
            lines.append({**line, **indices._asdict(), **indices.average.columns("average")})
        return pd.DataFrame(lines)

    @cached_property
    def predicted(self) -> pd.DataFrame:
        """Every score of each model on each data set."""
        return pd.DataFrame(
            [{"model": p.model, "data": p.data, **p.scores} for p in self.pairs if p.scores]
        )

    @cached_property
    def agreement(self) -> pd.DataFrame:
        """Weighted Kendall tau over the models, by data set, mode and score."""
        if "agreement" in self.given:
            return self.given["agreement"]
        scores = {pair[:2]: pair.scores for pair in self.pairs}
        truths: dict[tuple[str, str], dict[str, float]] = {}
        for line in self.lines("comparison"):  # the last fraction that a model has stays
            if line["mode"] != "untouched":
                truths.setdefault((line["data"], line["mode"]), {})[line["model"]] = line["acc"]
        names = list(dict.fromkeys(name for pair in self.pairs for name in pair.scores))
        lines = []
        for ((data, mode), truth), score in product(truths.items(), names):
            predicted = [scores.get((m, data), {}).get(score, np.nan) for m in truth]
            tau = weighted_tau(predicted, list(truth.values()))
            if np.isfinite(tau.value):
                line = {"data": data, "mode": mode, "score": score, "models": len(truth)}
                lines.append({**line, **tau.columns("tau")})
        return pd.DataFrame(lines)

    @cached_property
    def ranking(self) -> pd.DataFrame:
        """The rank of each model among all, by data set, mode and fraction."""
        if "ranking" in self.given:
            return self.given["ranking"]
        lines = []
        for rest in dict.fromkeys(key[1:] for key in self.cells_by_key):
            keys = [Key(model, *rest) for model in self.models]
            keys = [key for key in keys if key in self.cells_by_key]
            if len(keys) > 1:
                ranks = rank_intervals([self.hits(key) for key in keys])
                for key, rank in zip(keys, ranks, strict=True):
                    lines.append({**key._asdict(), "of": len(keys), **rank.columns("rank")})
        return pd.DataFrame(lines)

    @cached_property
    def sufficiency(self) -> pd.DataFrame:
        """Labelled images that the wanted accuracy takes, by model, data set and mode."""
        lines = []
        for key, found in self.curves.items():
            line = {"model": key.model, "data": key.data, "mode": key.mode, "wanted": found.wanted}
            line |= found.samples.columns("needed") | found.level.columns("level")
            law = found.curve or PowerLaw(np.nan, np.nan, np.nan)
            lines.append({**line, "a": law.a, "b": law.b, "c": law.c, "refused": found.refused})
        return pd.DataFrame(lines)

    @cached_property
    def curves(self) -> dict[Key, Sufficiency]:
        """Learning curves carried on, of what was measured with several numbers of images."""
        hits: dict[Key, dict[int, np.ndarray]] = {}
        for key, outcomes in self.cells_by_key.items():
            if key.mode != "untouched":
                tables = [outcome.rows.sort_values("index")["correct"] for outcome in outcomes]
                drawn = np.stack([table.to_numpy() for table in tables])
                hits.setdefault(key._replace(fraction=""), {})[outcomes[0].samples] = drawn
        return {k: sufficiency(sizes, self.wanted) for k, sizes in hits.items() if len(sizes) > 1}

    @cached_property
    def recommended(self) -> pd.DataFrame:
        """The cheapest mode that no other surely beats, by model, data set and fraction."""
        lines = []
        for model, data, fraction in product(self.models, self.tasks, self.fractions):
            keys = {mode: Key(model, data, mode, fraction) for mode in MODES}
            keys["untouched"] = Key(model, data, "untouched", "all")
            line = recommendation(
                {m: self.hits(k) for m, k in keys.items() if k in self.cells_by_key}
            )
            if line is not None:
                lines.append({"model": model, "data": data, "fraction": fraction, **line})
        return pd.DataFrame(lines)
