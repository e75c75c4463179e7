"""The cells to measure, and how long that will take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from callbacks.words import duration, percent
from pipelines.report.plan import seconds_left
from pipelines.study import Study
from pipelines.transfer.cell import Outcome, Transfer, cell_facts, measured
from pipelines.transfer.pair import Pair
from pipelines.transfer.recipe import Recipe
from pipelines.transfer.source import Source
from pipelines.transfer.training import seconds_an_image

_BACKWARD = 2.0  # forwards that a backward costs
# Seconds of the Trainer a step, an epoch and a training, measured on a CPU.
_STEP, _EPOCH, _START = 0.003, 0.012, 0.6
_SOLVE = 3e-7  # seconds a sample, feature and class of a sweep and refit, measured on one core
_DRIFT_IMAGES = 512


@dataclass(frozen=True)
class PlannedCell:
    """A cell before it is measured.

    Args:
        transfer: which.
        pair: model and data.
        source: for what is forgotten, where the source data is known.
        key: of its result among the cells.
        seconds: predicted.
        known: whether its result is there.
    """

    transfer: Transfer
    pair: Pair
    source: Source | None
    key: str
    seconds: float
    known: bool

    @property
    def group(self) -> tuple[str, str]:
        """A line of the plan: model and mode."""
        return self.transfer.model, self.transfer.mode


def transfers_of(
    models: Sequence[str], tasks: Sequence[str], modes: Sequence[str], fractions: Sequence[str],
    seeds: Sequence[int],
) -> list[Transfer]:  # fmt: skip
    """All cells, pair by pair; untouched has neither fraction nor seed."""
    moved = list(product([m for m in modes if m != "untouched"], fractions, seeds))
    return [
        transfer
        for pair in product(models, tasks)
        for transfer in (Transfer(*pair, "untouched"), *(Transfer(*pair, *rest) for rest in moved))
    ]


def planned(
    study: Study,
    transfers: Sequence[Transfer],
    pairs: Mapping[tuple[str, str], Pair],
    sources: Mapping[str, Source | None],
    recipe: Recipe,
) -> list[PlannedCell]:
    """Predicts every cell, with pairs by model and data, and sources by model."""
    forward = {names: seconds_an_image(pair) for names, pair in pairs.items()}
    plan = []
    for transfer in transfers:
        names, source = transfer[:2], sources.get(transfer.model)
        pair = pairs[names]
        key = study.cells.key(cell_facts(transfer, pair, source, recipe))
        seconds = predicted_seconds(transfer, pair, source, recipe, forward[names])
        plan.append(PlannedCell(transfer, pair, source, key, seconds, study.cells.known(key)))
    return plan


def predicted_seconds(
    transfer: Transfer, pair: Pair, source: Source | None, recipe: Recipe, forward: float
) -> float:
    """How long a cell will take; a pair's feature pass is counted with its untouched cell.

    Args:
        transfer: which.
        pair: model and data.
        source: for what is forgotten.
        recipe: what all cells share.
        forward: seconds for an image.
    """
    test = len(pair.test)
    robust = 30 * min(test, 512) * forward * len(recipe.probes)
    if transfer.mode == "untouched":
        return forward * (test + len(pair.pool)) + (robust if pair.own_head else 0)
    samples = len(pair.chosen[transfer.fraction, transfer.seed])
    if transfer.mode == "probe":
        return _SOLVE * samples * pair.width * len(pair.classes) + 0.1 + robust
    epochs = recipe.epochs_for(max(1, 4 * samples // 5))
    steps = epochs * max(1, samples // recipe.batch_size)
    training = epochs * (samples * forward * (1 + _BACKWARD) + _EPOCH) + steps * _STEP + _START
    after = forward * (test + 2 * min(_DRIFT_IMAGES, test))
    if source:
        after += forward * (len(source.pair.pool) + len(source.pair.test)) + 0.3
    return training + after + robust


def carried_out(study: Study, plan: Sequence[PlannedCell], recipe: Recipe) -> list[Outcome]:
    """Measures cell by cell, and tells of some in one line, of those that fail always."""
    outcomes = []
    for i, cell in enumerate(plan, 1):
        outcome = measured(study, cell.transfer, cell.pair, cell.source, recipe)
        outcomes.append(outcome)
        if not cell.known:
            told = f"FAILED {outcome.error}" if outcome.error else f"{percent(outcome.accuracy)} %"
            took = f"{outcome.seconds:.1f} s; {duration(seconds_left(plan[i:]))} left"
            line = f"{i:>4}/{len(plan)} {cell.transfer}: {told}, {took}"
            study.say_progress(line, bool(outcome.error) or i == len(plan))
    return outcomes
