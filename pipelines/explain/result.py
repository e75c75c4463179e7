"""What `assay explain` found, on disk and as metrics."""

import json
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from callbacks.monitoring import MonitorabilityScore
from callbacks.results import records
from callbacks.statistics import Interval
from pipelines.evaluate.result import Metric
from pipelines.report.figures import save_png


class Headline(NamedTuple):
    """One of the few numbers that come first.

    Args:
        title: over it.
        number: with its interval, where there is one.
        note: what it is, under it.
    """

    title: str
    number: Interval
    note: str


@dataclass(frozen=True)
class Explanation:
    """One model explained and watched on one data set.

    Args:
        model: name, source, architecture, parameters, digest, classes.
        data: the data module's manifest.
        score: with its parts; not a number where a part could not be measured.
        headline: the numbers that come first, by the name of their metric.
        tables: by name.
        figures: by name.
        notes: what a reader must know.
        facts: how it was measured, for the report's end.
        command: as typed.
        seconds: from start to end.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    score: MonitorabilityScore | None
    headline: dict[str, Headline]
    tables: dict[str, pd.DataFrame]
    figures: dict[str, Figure] = field(repr=False)
    notes: list[str]
    facts: dict[str, str]
    command: str
    seconds: float

    def metrics(self) -> list[Metric]:
        """All numbers for MLflow; one that is not finite is left out."""
        found: list[Metric] = []
        for line in records(self.tables["outliers"]):
            name = f"{line['score']}_{_slug(line['outliers'])}"
            numbers = ("auroc", "fpr95_in", "fpr95_out")
            found += [(f"monitoring/{name}_{one}", float(line[one]), 0) for one in numbers]
        for line in records(self.tables["failure"]):
            for number in ("error_auroc", "aurc", "excess_aurc", "ece"):
                key = f"monitoring/{line['setting']}_{number}"
                found.append((key, float(line[number]), int(line["severity"])))
        for line in records(self.tables["drift"]):
            key = f"monitoring/drift_{_slug(line['shift'])}_score"
            found.append((key, float(line["score"]), int(line["end"])))
        for line in records(self.tables["methods"]):
            found.append((f"monitoring/srg_{line['method']}", float(line["srg"]), 0))
        for line in records(self.tables["changes"]):
            key = f"monitoring/agreement_{_slug(line['version'])}"
            found.append((key, float(line["agreement"]), 0))
        if self.score:
            for part in self.score.parts:
                found += _with_ends(f"summary/part_{part.name}", part.value)
        for name, one in self.headline.items():
            found += _with_ends(f"summary/{name}", one.number)
        return [metric for metric in found if math.isfinite(metric[1])]

    def save(self, folder: Path) -> Path:
        """Writes `explanation.json`, `tables/*.json` and `figures/*.png`."""
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        for name, table in self.tables.items():  # in the form of MLflow's `log_table`
            table.to_json(folder / "tables" / f"{name}.json", orient="split", index=False)
        for name, figure in self.figures.items():
            save_png(figure, folder / "figures" / f"{name}.png")
        facts = {
            "model": self.model, "data": self.data, "notes": self.notes, "facts": self.facts,
            "score": asdict(self.score) if self.score else None, "command": self.command,
            "headline": {name: one.number._asdict() for name, one in self.headline.items()},
            "seconds": self.seconds,
        }  # fmt: skip
        unfinished = folder / "explanation.json.part"
        unfinished.write_text(json.dumps(_strict(facts), indent=1, default=str))
        unfinished.replace(folder / "explanation.json")
        return folder


def _strict(value: Any) -> Any:
    """What is not finite as None: JSON has no word for it, and strict readers refuse Python's."""
    if isinstance(value, dict):
        return {key: _strict(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_ends(key: str, number: Interval) -> list[Metric]:
    return [(key, number.value, 0), (f"{key}_low", number.low, 0), (f"{key}_high", number.high, 0)]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
