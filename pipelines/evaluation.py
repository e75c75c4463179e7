"""What an evaluation is, in memory and on disk; the report and MLflow both read it."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from callbacks.reductions import by_setting, worst_case
from callbacks.statistics import Interval, auroc, ece, mean, rate
from datamodules.errors import UserError

Metric = tuple[str, float, int]
"""Key with exactly one slash, value, step."""


@dataclass(frozen=True)
class ProbeResult:
    """The rows of one probe and what they were measured with.

    Args:
        name: of the probe.
        family: its folder, prefix of its metric keys.
        title: for tables and plots.
        unit: of the severity.
        algorithm: everything that was done, with all parameters.
        headline: severity whose number stands for the probe, where there is one.
        rows: one line per sample and setting.
    """

    name: str
    family: str
    title: str
    unit: str
    algorithm: str
    headline: float | None
    rows: pd.DataFrame = field(repr=False)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One line a setting."""
        return by_setting(self.rows)

    @cached_property
    def at_headline(self) -> pd.DataFrame:
        """The rows of the setting nearest to the headline severity, else of the largest."""
        values = sorted(set(self.rows["value"]))
        if not values:
            return self.rows
        wanted = values[-1] if self.headline is None else self.headline
        nearest = min(values, key=lambda value: abs(value - wanted))
        return self.rows[self.rows["value"] == nearest]

    @property
    def budget(self) -> dict[str, float]:
        """What it cost, added up over the rows, so that resumed runs count in full."""
        return {name: float(self.rows[name].sum()) for name in ("forwards", "backwards", "seconds")}


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

    def result(self, name: str) -> ProbeResult | None:
        """The probe of that name, if it was measured."""
        return next((one for one in self.results if one.name == name), None)

    def attacks(self, norm: str | None = None) -> list[ProbeResult]:
        """The adversarial probes, of one norm or of all."""
        found = [one for one in self.results if one.family == "adversarial" and len(one.rows)]
        return [one for one in found if norm is None or f"_{norm}" in one.name]

    def worst_case(self, norm: str) -> pd.DataFrame | None:
        """Point-wise worst rows over the attacks of a norm at the headline radius."""
        attacks = self.attacks(norm)
        return worst_case([one.at_headline for one in attacks]) if attacks else None

    def headline(self) -> dict[str, Interval]:
        """The single numbers of the table view: `clean_acc`, `adversarial_linf_acc`, ..."""
        found: dict[str, Interval] = {}
        clean = self.result("clean")
        if clean and len(clean.rows):
            found["clean_acc"] = _accuracy(clean.rows)
            found["clean_loss"] = mean(clean.rows["loss"])
            found["clean_ece"] = _bare(ece(clean.rows["confidence"], clean.rows["correct"]))
            wrong = clean.rows["correct"] == 0
            found["error_auroc"] = _bare(auroc(-clean.rows["confidence"], wrong))
        for norm in ("linf", "l2"):
            rows = self.worst_case(norm)
            if rows is not None:
                found[f"adversarial_{norm}_acc"] = _accuracy(rows)
                found[f"adversarial_{norm}_loss"] = mean(rows["worst_loss"])
        return found

    def metrics(self) -> list[Metric]:
        """All numbers for MLflow; a number that is not finite is left out.

        Raises:
            UserError: two settings of a probe fall on one step.
        """
        found: list[Metric] = []
        for result in self.results:
            _check_steps(result)
            for line in result.table.to_dict("records"):
                for name in ("acc", "acc_low", "acc_high", "worst_loss", "ece"):
                    if name in line:
                        key = f"{result.family}/{line['setting']}_{name}"
                        found.append((key, float(line[name]), int(line["severity"])))
        for name, interval in self.headline().items():
            found.append((f"summary/{name}", interval.value, 0))
            if math.isfinite(interval.low):
                found += [(f"summary/{name}_low", interval.low, 0)]
                found += [(f"summary/{name}_high", interval.high, 0)]
        return [metric for metric in found if math.isfinite(metric[1])]

    def save(self, folder: Path) -> Path:
        """Writes `evaluation.json` and `rows/<probe>.parquet` and returns the folder."""
        (folder / "rows").mkdir(parents=True, exist_ok=True)
        for result in self.results:
            result.rows.to_parquet(folder / "rows" / f"{result.name}.parquet", index=False)
        facts = asdict(replace(self, results=[]))
        facts["results"] = [
            {k: v for k, v in vars(result).items() if k in _RESULT_FACTS} for result in self.results
        ]
        (folder / "evaluation.json").write_text(json.dumps(facts, indent=1, default=str))
        return folder

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Reads what `save` wrote.

        Raises:
            UserError: the folder holds no evaluation.
        """
        try:
            facts = json.loads((folder / "evaluation.json").read_text())
            results = [
                ProbeResult(**one, rows=pd.read_parquet(folder / "rows" / f"{one['name']}.parquet"))
                for one in facts.pop("results")
            ]
        except (OSError, json.JSONDecodeError, KeyError) as error:
            raise UserError(f"Expected an evaluation in {str(folder)!r}, but: {error}.") from error
        return cls(**facts, results=results)


_RESULT_FACTS = ("name", "family", "title", "unit", "algorithm", "headline")


def _accuracy(rows: pd.DataFrame) -> Interval:
    return rate(int(rows["correct"].sum()), len(rows))


def _bare(value: float) -> Interval:
    return Interval(value, math.nan, math.nan)


def _check_steps(result: ProbeResult) -> None:
    table = result.table
    doubled = table[table.duplicated(["setting", "severity"], keep=False)] if len(table) else table
    if len(doubled):
        raise UserError(
            f"The severities {sorted(doubled['value'])[:2]} of {result.name!r} fall on one step of "
            f"the curve ({int(doubled['severity'].iloc[0])}): leave one out."
        )
