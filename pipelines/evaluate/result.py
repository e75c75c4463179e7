"""What an evaluation is, in memory and on disk; the report and MLflow both read it."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from callbacks.reductions import per_class, worst_case
from callbacks.statistics import Interval, auroc_interval, ece_interval, mean, rate
from datamodules.errors import UserError
from pipelines.evaluate.probe_results import (
    AttackSet,
    ProbeResult,
    attack_sets,
    check_settings,
    records,
)

Metric = tuple[str, float, int]
"""Key with exactly one slash, value, step."""


@dataclass(frozen=True)
class Evaluation:
    """One model on one data set under any probes.

    Args:
        model: name, source, architecture, parameters, digest, classes.
        data: the data module's manifest.
        results: of the probes.
        environment: versions, device, precision, threads, chunk.
        command: as typed.
        seed: of every random number.
        seconds: from start to end.
        created: ISO time.
        run_id: of MLflow.
        notes: what a reader must know.
        interrupted: these are only the rows so far.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    results: list[ProbeResult]
    environment: dict[str, Any]
    command: str
    seed: int
    seconds: float
    created: str
    run_id: str | None = None
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def result(self, name: str) -> ProbeResult | None:
        """The probe of that name, if it was measured."""
        return next((one for one in self.results if one.name == name), None)

    @cached_property
    def attacks(self) -> list[AttackSet]:
        """The adversarial probes, by threat model."""
        return attack_sets(self.results)

    @cached_property
    def headline(self) -> dict[str, Interval]:
        """The single numbers of the table view, with their intervals.

        `clean_acc clean_loss clean_ece error_auroc` of the undisturbed images;
        `adversarial_<norm>_acc` and `_loss`, the point-wise worst over the attacks of a threat
        model at its headline radius; `adversarial_acc` and `worst_case_loss` over all of them.
        """
        found: dict[str, Interval] = {}
        clean = self.result("clean")
        if clean and len(clean.rows):
            rows = clean.rows
            found["clean_acc"] = _accuracy(rows)
            found["clean_loss"] = mean(rows["loss"])
            found["clean_ece"] = ece_interval(rows["confidence"], rows["correct"])
            found["error_auroc"] = auroc_interval(-rows["confidence"], rows["correct"] == 0)
        worst = {one.norm: one.at_headline for one in self.attacks}
        for norm, rows in worst.items():
            found[f"adversarial_{norm}_acc"] = _accuracy(rows)
            found[f"adversarial_{norm}_loss"] = mean(rows["worst_loss"])
        if worst:
            rows = worst_case(list(worst.values()))
            found["adversarial_acc"] = _accuracy(rows)
            found["worst_case_loss"] = mean(rows["worst_loss"])
        return found

    def metrics(self) -> list[Metric]:
        """All numbers for MLflow; one that is not finite is left out.

        Raises:
            UserError: two settings of a probe fall on one step, or a name is no metric key.
        """
        found: list[Metric] = []
        for result in self.results:
            lines = result.table[["setting", "severity", "value"]].itertuples(index=False)
            check_settings(result.name, lines)
            loss = "worst_loss" if "worst_loss" in result.rows else "loss"
            found += _points(result.family, result.table, loss, result.reported)
        for one in self.attacks:
            found += _points("adversarial", one.table, "worst_loss")
            found.append((f"summary/adversarial_{one.norm}_epsilon", one.radius, 0))
        for name, interval in self.headline.items():
            found.append((f"summary/{name}", interval.value, 0))
            found.append((f"summary/{name}_low", interval.low, 0))
            found.append((f"summary/{name}_high", interval.high, 0))
        return [metric for metric in found if math.isfinite(metric[1])]

    def tables(self) -> dict[str, pd.DataFrame]:
        """`by_setting` and `by_class`; MLflow compares runs by the first column of a table."""
        settings = [result.table for result in self.results if len(result.rows)]
        settings += [one.table for one in self.attacks]
        if not settings:
            return {}
        joined = pd.concat(settings, ignore_index=True)
        names = [_named(setting, value) for setting, value in joined[["setting", "value"]].values]
        return {"by_setting": joined.assign(setting=names), "by_class": self.by_class("acc")}

    def by_class(self, number: str) -> pd.DataFrame:
        """One line a class, one column a probe at its headline severity.

        Args:
            number: `acc`, `acc_low`, `acc_high` or `n`.
        """
        columns = {}
        for result in self.results:
            rows = result.at_headline
            if len(rows):
                table = per_class(rows, self.model["classes"]).set_index("class")
                columns[_named(result.name, rows["value"].iloc[0])] = table[number]
        order = [str(name) for name in self.model["classes"]]
        table = pd.DataFrame(columns).rename_axis("class")
        return table.reindex([name for name in order if name in table.index]).reset_index()

    def save(self, folder: Path) -> Path:
        """Writes `evaluation.json`, `rows/<probe>.parquet` and `tables/*.json`.

        The JSON file comes last and at once, so that a folder that has one is complete.
        """
        for name in ("rows", "tables"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for result in self.results:
            result.rows.to_parquet(folder / "rows" / f"{result.name}.parquet", index=False)
        for name, table in self.tables().items():  # in the form of MLflow's `log_table`
            table.to_json(folder / "tables" / f"{name}.json", orient="split", index=False)
        unfinished = folder / "evaluation.json.part"
        unfinished.write_text(json.dumps(self._facts(), indent=1, default=str))
        unfinished.replace(folder / "evaluation.json")
        return folder

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Reads what `save` wrote.

        Raises:
            UserError: the folder holds no evaluation.
        """
        try:
            facts = json.loads((folder / "evaluation.json").read_text())
            return cls(**{**facts, "results": list(_read_results(folder, facts["results"]))})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"Expected an evaluation in {str(folder)!r}, but: {type(error).__name__} {error}."
            ) from error

    def _facts(self) -> dict[str, Any]:
        """Everything but the rows."""
        facts = asdict(replace(self, results=[]))
        facts["results"] = [
            {name: getattr(result, name) for name in _RESULT_FACTS} for result in self.results
        ]
        return facts


_RESULT_FACTS = ("name", "family", "title", "unit", "algorithm", "headline", "reported")


def _read_results(folder: Path, facts: list[dict[str, Any]]) -> Iterator[ProbeResult]:
    for one in facts:
        rows = pd.read_parquet(folder / "rows" / f"{one['name']}.parquet")
        yield ProbeResult(**one, rows=rows)


def _points(family: str, table: pd.DataFrame, loss: str, also: Sequence[str] = ()) -> list[Metric]:
    """The curves of one table; `loss` is the number that stands for the loss."""
    names = ("acc", "acc_low", "acc_high", loss, "ece")
    return [
        (f"{family}/{line['setting']}_{name}", float(line[name]), int(line["severity"]))
        for line in records(table)
        for name in (*names, *also)
        if name in line
    ]


def _accuracy(rows: pd.DataFrame) -> Interval:
    return rate(int(rows["correct"].sum()), len(rows))


def _named(setting: str, value: float) -> str:
    return f"{setting} {value:.4g}" if value else setting


__all__ = ["Evaluation", "Metric", "ProbeResult"]
