"""The cells to measure, and how long that will take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import rich.box
from rich.table import Table

from pipelines.transfer.cell import Cell
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.source import Source
from pipelines.transfer.subject import Subject

_BACKWARD = 2.0  # forwards that a backward costs
# Seconds of the Trainer a step, an epoch and a training, measured on a CPU.
_STEP, _EPOCH, _START = 0.003, 0.012, 0.6
_SOLVE = 3e-7  # seconds a sample, feature and class of a sweep and refit, measured on one core
_DRIFT_IMAGES = 512


@dataclass(frozen=True)
class Planned:
    """A cell before it is measured.

    Args:
        cell: which.
        key: of its results on disk.
        seconds: predicted.
        known: whether they are there.
    """

    cell: Cell
    key: str
    seconds: float
    known: bool


def cells_of(
    models: Sequence[str],
    tasks: Sequence[str],
    modes: Sequence[str],
    fractions: Sequence[str],
    seeds: Sequence[int],
) -> list[Cell]:
    """All cells, pair by pair; untouched has neither fraction nor seed."""
    return [
        cell
        for model in models
        for task in tasks
        for mode in modes
        for cell in (
            [Cell(model, task, mode)]
            if mode == "untouched"
            else [Cell(model, task, mode, f, seed) for f in fractions for seed in seeds]
        )
    ]


def predicted_seconds(
    cell: Cell, samples: int, subject: Subject, source: Source | None, recipe: Recipe, one: float
) -> float:
    """How long a cell will take.

    Args:
        cell: which.
        samples: it learns from.
        subject: model and data; their feature pass is counted with the untouched cell.
        source: for what is forgotten.
        recipe: epochs, batch size, probes.
        one: seconds of a forward of one image.
    """
    test = len(subject.test)
    robust = 30 * min(test, 512) * one * len(recipe.probes)
    if cell.mode == "untouched":
        return one * (test + len(subject.pool)) + (robust if subject.own_head else 0)
    if cell.mode == "probe":
        return _SOLVE * samples * subject.width * len(subject.classes) + 0.1 + robust
    epochs = recipe.epochs_for(max(1, 4 * samples // 5))
    steps = epochs * max(1, samples // recipe.batch_size)
    training = epochs * (samples * one * (1 + _BACKWARD) + _EPOCH) + steps * _STEP + _START
    after = one * (test + 2 * min(_DRIFT_IMAGES, test))
    if source:
        after += one * (len(source.subject.pool) + len(source.subject.test)) + 0.3
    return training + after + robust


def planned(
    cells: Sequence[Cell],
    subjects: Mapping[tuple[str, str], Subject],
    sources: Mapping[str, Source | None],
    recipe: Recipe,
    forward: Mapping[tuple[str, str], float],
    key: Callable[[Cell], str],
    known: Callable[[str], bool],
    samples: Callable[[Cell], int],
) -> list[Planned]:
    """Predicts every cell.

    Args:
        cells: from `cells_of`.
        subjects: by model and data.
        sources: by model.
        recipe: what they share.
        forward: seconds of a forward of one image, by model and data.
        key: of a cell's results.
        known: whether a key has results.
        samples: a cell learns from.
    """
    made = []
    for cell in cells:
        pair, name = (cell.model, cell.data), key(cell)
        source = sources.get(cell.model)
        seconds = predicted_seconds(
            cell, samples(cell), subjects[pair], source, recipe, forward[pair]
        )
        made.append(Planned(cell, name, seconds, known(name)))
    return made


def plan_table(plan: Sequence[Planned]) -> Table:
    """One line a model and mode: cells, those known already, and the predicted time of the rest."""
    left = [one for one in plan if not one.known]
    table = Table(
        title=f"Plan: {len(plan)} cells, {len(plan) - len(left)} known, about "
        f"{duration(sum(one.seconds for one in left))}",
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
    )
    for name in ("model", "mode", "cells", "known", "time"):
        table.add_column(name, justify="left" if name in ("model", "mode") else "right")
    for model, mode in dict.fromkeys((one.cell.model, one.cell.mode) for one in plan):
        mine = [one for one in plan if (one.cell.model, one.cell.mode) == (model, mode)]
        time = sum(one.seconds for one in mine if not one.known)
        known = sum(one.known for one in mine)
        table.add_row(model, mode, str(len(mine)), str(known), duration(time))
    return table


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
