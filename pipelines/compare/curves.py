"""Accuracy and loss against severity of every model, as a table and as overlaid figures."""

from collections.abc import Mapping, Sequence
from typing import cast

import pandas as pd
from matplotlib.figure import Figure

from callbacks.family import Curve
from callbacks.reductions import accuracy, column_mean
from callbacks.results import ProbeResult, records, unit_slug
from pipelines.evaluate.comparison import overlaid

_MOST_LINES = 12
"""In one figure; where there are more, each probe has its own."""
_MOST_PROBES = 8
"""Of one family, that have a figure of their own."""


def points(model: str, results: Sequence[ProbeResult]) -> pd.DataFrame:
    """The points of all curves of one model.

    Args:
        model: its name.
        results: of its probes, with all their rows.

    Returns:
        A line a probe and severity: `model probe title family unit value acc acc_low acc_high
        worst_loss worst_loss_low worst_loss_high clean_acc clean_loss`, the last two on the same
        images.
    """
    clean = next((result.rows for result in results if result.name == "clean"), None)
    lines = []
    for one in results:
        if not one.is_curve:
            continue
        about = {"probe": one.name, "title": one.title, "family": one.family, "unit": one.unit}
        column = "worst_loss" if "worst_loss" in one.rows else "loss"
        for value, rows in one.rows.groupby("value"):
            start = _start(clean, rows)
            numbers = accuracy(rows).columns("acc")
            losses = column_mean(rows, column).columns("worst_loss")
            lines.append({"model": model, **about, "value": value, **numbers, **losses, **start})
    return pd.DataFrame(lines)


def curve_figures_of(
    table: pd.DataFrame, models: Sequence[str], places: Mapping[str, Mapping[str, str]],
    classes: int,
) -> dict[str, Figure]:  # fmt: skip
    """Curves of all models over each other, one colour a model.

    Args:
        table: from `points`, of all models.
        models: names, in the order of the colours.
        places: of probes whose severities are places, by probe.
        classes: of the models.
    """
    if table.empty:
        return {}
    groups: dict[str, list[str]] = {}
    for key, part in table.groupby(["family", "unit"], sort=False):
        family, unit = cast("tuple[str, str]", key)
        probes = [str(name) for name in part["probe"].unique()]
        if len(probes) * len(models) <= _MOST_LINES:
            groups[f"{family}_{unit_slug(unit)}"] = probes
        else:
            groups |= {f"{family}_{probe}": [probe] for probe in probes[:_MOST_PROBES]}
    sides = []
    for model in models:
        own = table.loc[table["model"] == model]
        curves = {
            name: [
                _curve(own.loc[own["probe"] == probe], places.get(probe, {})) for probe in probes
            ]
            for name, probes in groups.items()
        }
        sides.append((model, curves))
    return overlaid(sides, classes)


def _curve(table: pd.DataFrame, places: Mapping[str, str]) -> Curve:
    first = records(table)[0]
    start = {"correct": first["clean_acc"], "loss": first["clean_loss"]}
    if ", " in first["unit"]:  # a position, such as `layer, first to last`
        start = {}
    return Curve(first["title"], first["unit"], table, start, places=places)


def _start(clean: pd.DataFrame | None, rows: pd.DataFrame) -> dict[str, float]:
    if clean is None:
        return {"clean_acc": float("nan"), "clean_loss": float("nan")}
    same = clean[clean["index"].isin(rows["index"])]
    return {"clean_acc": float(same["correct"].mean()), "clean_loss": float(same["loss"].mean())}
