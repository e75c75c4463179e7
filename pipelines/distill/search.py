"""Automatic distillation: recipes that do badly on validation images are given up early."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import pandas as pd

from datamodules.errors import UserError
from lightning_modules import DivergedError
from lightning_modules.distillation import DistillationRecipe, Search, Teachers, made_teachers
from pipelines.distill.plan import Plan
from pipelines.distill.training import distillation
from pipelines.study import Study
from pipelines.study.cells import Cell
from pipelines.study.trainer_flags import TRAINER, deciding
from pipelines.study.training import shuffled, train

_VERSION = 1
"""To be raised with whatever changes a trial's curve."""


class Found(NamedTuple):
    """What a search came to.

    Args:
        plan: with the best recipe.
        trials: a line for each: recipe, epochs, best score on the validation images, fate.
        note: what was chosen from, and what it cost against trying everything.
    """

    plan: Plan
    trials: pd.DataFrame
    note: str


def searched(study: Study, plan: Plan, search: Search, seed: int) -> Found:
    """Tries recipes by successive halving, and takes the best on the validation images.

    Asynchronous successive halving (ASHA: Li et al. 2020, 1810.05934) by Optuna's pruner. Test
    images are never looked at.

    Args:
        study: of the cells, one a trial.
        plan: what is distilled; its recipe gives what is not searched.
        search: recipes to choose from.
        seed: of student, images, and the order of the recipes.

    Raises:
        UserError: Optuna is missing, or the recipe says what is to be searched.
        DivergedError: no recipe could be trained to the end.
    """
    recipes = search.recipes(plan.recipe, seed)
    optuna = _optuna()
    tuner = optuna.create_study(
        direction="maximize",
        pruner=optuna.pruners.SuccessiveHalvingPruner(1, search.reduction),
    )
    cells: list[Cell] = []
    for recipe in recipes[: search.trials]:
        study.say(f"trial    {len(cells) + 1} of {min(search.trials, len(recipes))}")
        trial = tuner.ask()
        cells.append(_tried(study, plan, search, recipe, seed, trial))
        lost = cells[-1].facts["fate"] != "trained"
        state = optuna.trial.TrialState.PRUNED if lost else None
        tuner.tell(trial, None if lost else cells[-1].facts["score"], state)
    finished = [i for i, cell in enumerate(cells) if cell.facts["fate"] == "trained"]
    if not finished:
        raise DivergedError(f"None of {len(cells)} recipes could be trained: use a smaller lr.")
    best = max(finished, key=lambda i: cells[i].facts["score"])
    table = pd.DataFrame(
        [_line(recipe, cell) for recipe, cell in zip(recipes, cells, strict=False)]
    ).assign(chosen=[i == best for i in range(len(cells))])
    teachers = _teachers(plan, recipes[best])
    chosen = replace(plan, recipe=recipes[best], teachers=teachers)
    return Found(chosen, table, _note(study, table, len(recipes)))


class Halving(L.Callback):
    """Tells a tuner how a training goes, and stops it when the tuner gives it up.

    Args:
        trial: of Optuna.
    """

    def __init__(self, trial: Any) -> None:
        self.trial, self.scores, self.given_up = trial, [], False

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reports the number that the epoch is selected by."""
        if trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[str(pl_module.monitor)])
        self.scores.append(score)
        if _is_lost(self.trial, score, len(self.scores)):
            self.given_up = trainer.should_stop = True


def _tried(
    study: Study, plan: Plan, search: Search, recipe: DistillationRecipe, seed: int, trial: Any
) -> Cell:
    """Trains one recipe until it is finished or given up; one that was tried before is told again.

    What becomes of it depends on those before it, which the search and the seed decide.
    """
    told = False
    teachers = _teachers(plan, recipe)
    flags = {**TRAINER, **study.flags, "logger": False}

    def work(folder: Path) -> Cell:
        nonlocal told
        told = True
        L.seed_everything(seed, verbose=False)
        module = distillation(plan, seed, teachers, recipe)
        plan.fitting.fit_to(module)
        halving, place = Halving(trial), folder / "epochs"
        own = {"callbacks": [halving, *(study.flags.get("callbacks") or [])]}
        L.seed_everything(seed, verbose=False)
        images = shuffled(plan.data, seed)
        outcome = train(module, images, place, {**flags, **own}, fitting=plan.fitting)
        shutil.rmtree(place, ignore_errors=True)  # the best recipe is trained once more
        if teachers.caches is not plan.teachers.caches:  # else features of all trials pile up
            teachers.caches.clear()
        fate = "diverged" if outcome.diverged else "given up" if halving.given_up else "trained"
        facts = {"score": max(halving.scores, default=0.0), "fate": fate}
        return Cell(facts, pd.DataFrame({"score": halving.scores}))

    of = {
        "cell": "distill search", "version": _VERSION, **plan.facts(teachers, recipe),
        "search": {k: v for k, v in asdict(search).items() if k != "trials"},
        "number": trial.number, "tuning": asdict(plan.tuning), "perturb": repr(plan.perturb),
        "student": plan.start_digest(seed), "data": plan.data.training_digest(),
        "batch_size": plan.data.batch_size, "augment": plan.data.augment, "seed": seed,
        "flags": deciding(flags), **study.computed_on, **plan.fitting.key(),
        "regulariser": plan.regularisation.chosen,
    }  # fmt: skip
    cell = study.cells.measured(of, work)
    if not told:
        for epoch, score in enumerate(cell.rows["score"], start=1):
            _is_lost(trial, float(score), epoch)
    return cell


def _is_lost(trial: Any, score: float, epoch: int) -> bool:
    """Reports a score, by which the trials after it are judged too."""
    trial.report(score, epoch)
    return bool(trial.should_prune())


def _teachers(plan: Plan, recipe: DistillationRecipe) -> Teachers:
    """The plan's teachers, asked for what a recipe wants of them."""
    like = plan.teachers
    made = made_teachers(like.classifiers, recipe)
    made.native, made.chunk = like.native, like.chunk
    alone = len(made.classifiers) == 1  # of several, the temperature decides the mean
    if made.layers == like.layers and (alone or made.temperature == like.temperature):
        made.caches = like.caches  # the same answers
    return made


def _line(recipe: DistillationRecipe, cell: Cell) -> dict[str, Any]:
    filled = recipe.filled()
    return {
        "loss": recipe.loss,
        "temperature": filled.temperature,
        "hard_weight": filled.hard_weight,
        "soft_weight": filled.soft_weight,
        "feature_weight": filled.feature_weight,
        "layers": " ".join(recipe.layers),
        "epochs": len(cell.rows),
        "score": cell.facts["score"],
        "fate": cell.facts["fate"],
    }


def _note(study: Study, table: pd.DataFrame, grid: int) -> str:
    epochs, whole = int(table["epochs"].sum()), {**TRAINER, **study.flags}["max_epochs"] * grid
    return (
        f"The recipe is the best of {len(table)} of {grid} on the validation images, after "
        f"{epochs} epochs of training; all to the end would be {whole} ({epochs / whole:.0%}). "
        "Chosen by few images, its validation score flatters it; the test images were not looked "
        "at."
    )


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "`auto.trials` needs Optuna, which is not installed: pip install 'assay[tune]'."
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
