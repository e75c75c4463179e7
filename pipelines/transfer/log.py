"""What of a transfer goes into MLflow, and onto disk."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipelines.report.figures import save_png
from pipelines.tracking.run import Run
from pipelines.transfer.figures import passport_figures
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.result import NUMBERS, Matrix

Metric = tuple[str, float, int]


def save_tables(matrix: Matrix, folder: Path, model: str | None = None) -> list[str]:
    """Writes the tables as MLflow's `log_table` would, of one model or all; returns their names."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    names = []
    for name, table in matrix.tables().items():
        if model is not None:
            if "model" not in table:
                continue
            table = table[table["model"] == model]
        table.to_json(folder / "tables" / f"{name}.json", orient="split", index=False)
        names.append(name)
    return names


def save_figures(matrix: Matrix, model: str, folder: Path) -> None:
    """Writes the passport's figures for MLflow's artifact view."""
    for name, figure in passport_figures(matrix, model).items():
        save_png(figure, folder / "figures" / f"{name}.png")


def metrics_of(matrix: Matrix, model: str) -> list[Metric]:
    """Curves over the number of labelled images, and single numbers over the data sets."""
    found: list[Metric] = []
    for line in matrix.of_model(model, "comparison"):
        stem = f"transfer/{line['data']}_{line['mode']}"
        for name in NUMBERS:
            ends = [f"{name}{end}" for end in ("", "_low", "_high")]
            found += [(f"{stem}_{end}", line[end], int(line["samples"])) for end in ends]
    for line in matrix.of_model(model, "variability"):
        if line["fraction"] == matrix.fractions[-1] or line["mode"] == "untouched":
            stem = f"summary/{line['mode']}"
            found += [
                (f"{stem}_mean_acc", line["average"], 0),
                (f"{stem}_worst_acc", line["worst"], 0),
            ]
            found.append((f"{stem}_spread", line["spread"], 0))
    for line in matrix.of_model(model, "predicted"):
        scores = {name: value for name, value in line.items() if name not in ("model", "data")}
        found += [(f"predicted/{line['data']}_{name}", v, 0) for name, v in scores.items()]
    return [metric for metric in found if math.isfinite(metric[1])]


def log_model_run(
    run: Run, matrix: Matrix, model: str, folder: Path, params: dict[str, Any], recipe: Recipe
) -> None:
    """Logs one model's child run, whose files are in `folder` already."""
    tables = [
        {"path": f"tables/{file.name}", "type": "table"} for file in (folder / "tables").iterdir()
    ]
    mine = [one for one in matrix.outcomes if one.cell.model == model]
    counts = {"cells": len(mine), "cells.failed": sum(one.status != "ok" for one in mine)}
    tuning = {f"tuning.{name}": value for name, value in asdict(recipe.tuning).items()}
    run.log_folder(folder)
    run.log_batch(
        metrics_of(matrix, model),
        {**params, **counts, "epochs": recipe.epochs, "batch_size": recipe.batch_size, **tuning},
        {"mlflow.loggedArtifacts": json.dumps(tables)},
    )
