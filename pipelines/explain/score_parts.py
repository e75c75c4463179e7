"""The parts of the monitorability score as cells: each is measured once, image by image."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from callbacks.interpretability import GradCAM
from callbacks.interpretability.explainer import Explainer
from callbacks.monitoring import Evidence
from callbacks.monitoring.panel import PER_IMAGE, Panel
from callbacks.queries import Queries
from callbacks.randomness import Draw
from datamodules import ImageDataModule
from lightning_modules import Classifier
from pipelines.explain.cell import Stage, Stages
from pipelines.explain.images import images_at, one_batch
from pipelines.explain.units import Units

CHOOSING = 32
"""Validation images that the explainer is chosen on."""
_COLUMNS = ["measured", "control", "ideal"]


def candidates_for(layer: str | None) -> list[Explainer]:
    """The explainers that the most faithful one is chosen of.

    Args:
        layer: the last one that answers in maps, if there is one.
    """
    return [Panel().explainer, *([GradCAM(layer)] if layer else [])]


def chosen_panel(
    stages: Stages, candidates: Sequence[Explainer], classifier: Classifier,
    data: ImageDataModule, seed: int,
) -> tuple[Panel, Stage]:  # fmt: skip
    """The panel with the explainer that is most faithful on validation images.

    Returns:
        The panel, and a stage that says what the choice has cost.
    """

    def work(_: Path) -> Stage:
        model, batch = Queries(classifier, classifier.chunk), one_batch(data, "val", CHOOSING)
        image = batch.image.to(classifier.device)
        best = Panel().best_of(candidates, model, image, Draw(seed, batch.index.to(image.device)))
        return Stage(facts={"chosen": candidates.index(best.explainer), **_counts(model)})

    settings = {"candidates": [repr(explainer) for explainer in candidates]}
    stage = stages.measured("score: choice of the explainer", settings, work)
    return Panel(explainer=candidates[stage.facts["chosen"]]), stage


def measured_parts(
    stages: Stages, panel: Panel, units: Units, counts: Mapping[str, int], classifier: Classifier,
    data: ImageDataModule, rows: pd.DataFrame, natural: Tensor, seed: int,
) -> dict[str, Stage]:  # fmt: skip
    """Every part that asks the model: a stage with the table `evidence`, by name.

    Args:
        stages: where they are kept.
        panel: what is measured of an image.
        units: what is maximised.
        counts: images, or units, of each part.
        classifier: on its device.
        data: of the images.
        rows: `index` and `prediction` of the test images, the first ones first.
        natural: `(N, C, H, W)` images that maximised ones have to beat.
        seed: of every random number.
    """
    measured = {}
    for part in PER_IMAGE:
        some = rows.iloc[: counts[part]]
        work = partial(_measure_part, panel, part, classifier, data, some, seed)
        settings = {"panel": repr(panel), "count": len(some)}
        measured[part] = stages.measured(f"score: {part}", settings, work)
    settings = {"layer": units.layer, "count": counts["units"], "natural": len(natural)}
    work = partial(_measure_units, units, classifier, natural, counts["units"])
    return {**measured, "units": stages.measured("score: units", settings, work)}


def evidence_of(stage: Stage) -> Evidence:
    """The evidence that a cell holds; units have a population and belong to no image."""
    table, population = stage.tables["evidence"], stage.facts.get("population")
    columns = (table[name].to_numpy() for name in _COLUMNS)
    return Evidence(*columns, index=None if population else table["index"], population=population)


def counted(stages: Iterable[Stage]) -> tuple[int, int]:
    """Forwards and backwards of some stages."""
    counts = [(stage.facts["forwards"], stage.facts["backwards"]) for stage in stages]
    return sum(forwards for forwards, _ in counts), sum(backwards for _, backwards in counts)


def _measure_part(
    panel: Panel, part: str, classifier: Classifier, data: ImageDataModule, rows: pd.DataFrame,
    seed: int, _: Path,
) -> Stage:  # fmt: skip
    """One part of all rows, a chunk of images at a time, which bounds the memory."""
    model, size, device = Queries(classifier, classifier.chunk), classifier.chunk, classifier.device
    tables = []
    for start in range(0, len(rows), size):
        some = rows.iloc[start : start + size]
        batch = images_at(data, some["index"].to_numpy())
        target = torch.tensor(some["prediction"].to_numpy(), device=device)
        draw = Draw(seed, batch.index.to(device))
        evidence = panel.measure(part, model, batch.image.to(device), target, draw)
        tables.append(_evidence_table(evidence, np.asarray(evidence.index)))
    return Stage({"evidence": pd.concat(tables, ignore_index=True)}, _counts(model))


def _measure_units(
    units: Units, classifier: Classifier, natural: Tensor, count: int, _: Path
) -> Stage:
    # As many at a time as there are units: a padded chunk would compute for nothing.
    model = Queries(classifier, min(classifier.chunk, count))
    evidence, table, strips = units.measure(model, natural, count)
    tables = {"evidence": _evidence_table(evidence, table["channel"].to_numpy()), "units": table}
    facts = {**_counts(model), "population": units.population}
    return Stage(tables, facts, {"units": strips})


def _evidence_table(evidence: Evidence, index: np.ndarray) -> pd.DataFrame:
    """One line an image, or a unit: `index measured control ideal`."""
    columns = {name: np.asarray(getattr(evidence, name), float) for name in _COLUMNS}
    return pd.DataFrame({"index": index, **columns})


def _counts(model: Queries) -> dict[str, int]:
    return {"forwards": model.forwards, "backwards": model.backwards}
