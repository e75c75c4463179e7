"""The parts of the monitorability score as cells: each is measured once, image by image."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from callbacks.interpretability import GradCAM
from callbacks.interpretability.explainer import Explainer
from callbacks.monitoring import Evidence
from callbacks.monitoring.panel import PER_IMAGE, Panel
from callbacks.queries import Queries
from pipelines.explain.cell import Stage, Stages, spent
from pipelines.explain.inputs import Inputs
from pipelines.explain.units import Units

CHOOSING = 32
"""Validation images that the explainer is chosen on."""
_COLUMNS = ("index", "measured", "control", "ideal")


def candidates_for(layer: str | None) -> list[Explainer]:
    """The explainers that the most faithful one is chosen of.

    Args:
        layer: the last one that answers in maps, if there is one.
    """
    return [Panel().explainer, *([GradCAM(layer)] if layer else [])]


def chosen_panel(
    stages: Stages, candidates: Sequence[Explainer], inputs: Inputs
) -> tuple[Panel, Stage]:
    """The panel with the explainer that is most faithful on validation images.

    Returns:
        The panel, and a stage that says what the choice has cost.
    """

    def work(_: Path) -> Stage:
        model, (image, _label, draw) = inputs.queries(), inputs.images("val", CHOOSING)
        best = Panel().best_of(candidates, model, image, draw)
        return Stage(facts={"chosen": candidates.index(best.explainer), **spent(model)})

    settings = {"candidates": [repr(explainer) for explainer in candidates]}
    stage = stages.measured("score: choice of the explainer", settings, work)
    return Panel(explainer=candidates[stage.facts["chosen"]]), stage


def measured_parts(
    stages: Stages, panel: Panel, units: Units, counts: Mapping[str, int], inputs: Inputs,
    rows: pd.DataFrame, natural: Tensor,
) -> dict[str, Stage]:  # fmt: skip
    """Every part that asks the model: a stage with the table `evidence`, by name.

    Args:
        stages: where they are kept.
        panel: what is measured of an image.
        units: what is maximised.
        counts: images, or units, of each part.
        inputs: model and data.
        rows: `index` and `prediction` of the test images, the first ones first.
        natural: `(N, C, H, W)` images that maximised ones have to beat.
    """
    measured = {}
    for part in PER_IMAGE:
        some = rows.iloc[: counts[part]]
        work = partial(measure_part, panel, part, inputs, some)
        settings = {"panel": repr(panel), "count": len(some)}
        measured[part] = stages.measured(f"score: {part}", settings, work)
    settings = {"layer": units.layer, "count": counts["units"], "natural": len(natural)}

    def measure_units(_: Path) -> Stage:
        # As many at a time as there are units: a padded chunk would compute for nothing.
        model = Queries(inputs.classifier, min(inputs.classifier.chunk, counts["units"]))
        return units.measure(model, natural, counts["units"])

    return {**measured, "units": stages.measured("score: units", settings, measure_units)}


def evidence_of(stage: Stage) -> Evidence:
    """The evidence that a cell holds; units have a population and belong to no image."""
    table, population = stage.tables["evidence"], stage.facts.get("population")
    index, *columns = (table[name].to_numpy() for name in _COLUMNS)
    return Evidence(*columns, index=None if population else index, population=population)


def counted(stages: Iterable[Stage]) -> tuple[int, int]:
    """Forwards and backwards of some stages."""
    counts = [(stage.facts["forwards"], stage.facts["backwards"]) for stage in stages]
    return sum(forwards for forwards, _ in counts), sum(backwards for _, backwards in counts)


def measure_part(panel: Panel, part: str, inputs: Inputs, rows: pd.DataFrame, _: Path) -> Stage:
    """One part of all rows, a chunk of images at a time, which bounds the memory."""
    model, tables = inputs.queries(), []
    for start in range(0, len(rows), inputs.classifier.chunk):
        some = rows.iloc[start : start + inputs.classifier.chunk]
        image, draw = inputs.images_at(some["index"].to_numpy())
        target = torch.tensor(some["prediction"].to_numpy(), device=inputs.device)
        evidence = panel.measure(part, model, image, target, draw)
        tables.append(pd.DataFrame({name: getattr(evidence, name) for name in _COLUMNS}))
    return Stage({"evidence": pd.concat(tables, ignore_index=True)}, spent(model))
