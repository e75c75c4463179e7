"""A matrix whose models and data are open, in the command itself and in each of its workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datamodules.errors import UserError
from datamodules.fractions import Fraction
from lightning_modules.examination import examine
from pipelines.engine import Unit
from pipelines.evaluate.measure import TRAINER as PROBING
from pipelines.study import Study, options_in
from pipelines.study.trainer_flags import check_flags, check_untrained, check_where
from pipelines.transfer.cell import Outcome, measured
from pipelines.transfer.pair import Pair
from pipelines.transfer.pairs import make_pairs
from pipelines.transfer.plan import PlannedCell, planned, transfers_of
from pipelines.transfer.predicted import predicted_scores
from pipelines.transfer.recipe import TRAINED, Recipe, check_heeded, checked_modes
from pipelines.transfer.source import make_source
from pipelines.transfer.tasks import Model, Task, open_models, open_tasks

TRAINER: dict[str, Any] = {"max_epochs": 10}
_ONE_DEVICE = (
    "cells are small. Start one command a device, each with its own --models; what one has "
    "measured the others know."
)
_WANTED = 0.95
_OF_RECIPE = ("last_k", "alpha", "lora_rank", "lora_alpha", "lwf_weight")


@dataclass(frozen=True)
class Opened:
    """Everything that is known before a cell is measured.

    Args:
        study: of the command, or of a worker.
        models: that are moved.
        tasks: to where.
        pairs: by model and data.
        impossible: a failed cell for each pair that cannot be.
        modes: of moving.
        recipe: what all cells share.
        plan: the cells.
        wanted: accuracy that learning curves are carried on to.
        plan_only: whether nothing is to be measured.
    """

    study: Study
    models: Sequence[Model]
    tasks: Sequence[Task]
    pairs: Mapping[tuple[str, str], Pair]
    impossible: Sequence[Outcome]
    modes: Sequence[str]
    recipe: Recipe
    plan: Sequence[PlannedCell]
    wanted: float
    plan_only: bool

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the result besides models and data."""
        settings = {"cells": [cell.key for cell in self.plan]}
        if self.wanted != _WANTED:
            settings["wanted"] = [str(self.wanted)]
        if self.impossible:
            settings["impossible"] = [str(failed.transfer) for failed in self.impossible]
        return settings

    def units(self) -> list[Unit]:
        """Cells that are not there: the first of every pair keeps features, then long ones."""
        new = [(i, cell) for i, cell in enumerate(self.plan) if not cell.known]
        new.sort(key=lambda item: (item[1].transfer.mode != "untouched", -item[1].seconds))
        return [Unit(i, str(cell.transfer), [cell.key]) for i, cell in new]

    def measure(self, number: int) -> None:
        """Measures a cell of the plan, and with a pair's first one what is predicted for it."""
        cell = self.plan[number]
        measured(self.study, cell.transfer, cell.pair, cell.source, self.recipe)
        if cell.transfer.mode == "untouched":
            predicted_scores(cell.pair)


def opened(asked: Mapping[str, Any]) -> Opened:
    """Opens models and data, and plans the cells.

    Args:
        asked: arguments of `transfer`, options included.

    Raises:
        UserError: something the user can mend.
    """
    study = Study("transfer", "variability", options_in(asked), TRAINER)
    study.on_one_device(_ONE_DEVICE)
    recipe = _recipe(study, asked)
    modes, fractions = checked_modes(asked["modes"]), asked["fractions"]
    study.notes += check_heeded(recipe, modes)
    _check_flags(study.flags, modes, recipe.probes)
    parts, seeds = [Fraction(text) for text in fractions], asked["seeds"]
    models, data = (_listed(asked[name]) for name in ("models", "data"))
    if not 0 < asked["wanted_acc"] < 1:
        raise UserError(f"Expected `wanted_acc` between 0 and 1, but got {asked['wanted_acc']}.")
    if asked["wanted_acc"] != _WANTED and len(parts) == 1:
        raise UserError(
            "Got `wanted_acc` with one of --fractions, but the labelled images it takes are told "
            "from several: leave it out, or name more, e.g. --fractions 1/class 5/class 20/class "
            "all."
        )
    if not (models and data and seeds and parts):
        raise UserError("Expected at least one of --models, --data, --seeds and --fractions each.")

    tasks = open_tasks(study, data, asked["limit"])
    loaded = open_models(study, models, tasks, asked["sources"])
    pairs, impossible = make_pairs(study, loaded, tasks, parts, seeds)
    _meet(study, loaded, pairs)
    names = [[one.name for one in group] for group in (loaded, tasks)]
    transfers = transfers_of(names[0], names[1], modes, fractions, seeds)
    transfers = [one for one in transfers if one[:2] in pairs]
    origins = {model.name: make_source(study, model) for model in loaded}
    plan = planned(study, transfers, pairs, origins, recipe)
    return Opened(
        study, loaded, tasks, pairs, impossible, modes, recipe, plan,
        asked["wanted_acc"], asked["plan_only"],
    )  # fmt: skip


def _recipe(study: Study, asked: Mapping[str, Any]) -> Recipe:
    steps = (int(study.flags["max_epochs"]), asked["min_steps"], asked["batch_size"])
    own = {name: asked[name] for name in _OF_RECIPE}
    probes = tuple(asked["probes"] or ())
    return Recipe(asked["tuning"], *steps, **own, probes=probes, flags=study.flags)


def _check_flags(flags: Mapping[str, Any], modes: Sequence[str], probes: Sequence[str]) -> None:
    """Refuses flags of the Trainer that no cell would heed; epochs too many do no harm."""
    if not set(TRAINED) & set(modes):
        if not probes:
            check_where(flags, "no mode trains the backbone", TRAINER)
        own = {name: value for name, value in flags.items() if name not in TRAINER}
        check_untrained(own, f"transfer --modes {' '.join(modes)}", PROBING)
        return
    check_flags(flags, evaluated=False)
    if "logger" in flags:
        raise UserError("Got `trainer.logger`, but cells log no curves: leave it out.")


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _meet(
    study: Study, models: Sequence[Model], pairs: Mapping[tuple[str, str], Pair]
) -> None:  # fmt: skip
    """Examines every model once, on data of its own classes where there are any."""
    for model in models:
        own = (pair for (name, _), pair in pairs.items() if name == model.name)
        for first in sorted(own, key=lambda pair: not pair.own_head)[:1]:
            study.meet(first.model.classifier, first.data)
            if first.model is not model:  # but one in the data's order of classes
                examine(model.classifier, first.data.taken("test", 16).image)
