"""`assay transfer`: which model, tuned how, for which data."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import Unpack  # Python 3.10 has none

from datamodules.errors import UserError
from datamodules.fractions import Fraction
from lightning_modules import Tuning
from lightning_modules.examination import examine
from pipelines.cli import COMMANDS
from pipelines.report.about import About
from pipelines.report.plan import plan_sheet
from pipelines.report.terminal import print_sheet
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.transfer.cell import Outcome
from pipelines.transfer.grid import Grid, PairFacts
from pipelines.transfer.pair import Pair
from pipelines.transfer.pairs import make_pairs
from pipelines.transfer.plan import carried_out, planned, transfers_of
from pipelines.transfer.predicted import predicted_scores
from pipelines.transfer.recipe import Recipe, check_heeded, checked_modes
from pipelines.transfer.result import Matrix
from pipelines.transfer.source import make_source
from pipelines.transfer.tasks import Model, open_models, open_tasks

TRAINER: dict[str, Any] = {"max_epochs": 10}
_ONE_DEVICE = (
    "cells are small. Start one command a device, each with its own --models; what one has "
    "measured the others know."
)


def main(words: list[str]) -> int:
    """Runs the command line; 1 where no cell succeeded."""
    matrix = transfer(**parse(transfer, words, TRAINER, COMMANDS["transfer"].example))
    return int(matrix is not None and len(matrix.grid.failed) == len(matrix.grid.outcomes))


def transfer(
    models: ModelLike | list[ModelLike],
    data: DataLike | list[DataLike],
    modes: list[str] = ["probe"],  # noqa: B006  (never changed)
    seeds: list[int] = [0],  # noqa: B006
    fractions: list[str] = ["all"],  # noqa: B006
    sources: list[str] | None = None,
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    batch_size: int = 64,
    min_steps: int = 200,
    last_k: int = 1,
    alpha: float = 0.1,
    lora_rank: int = 8,
    lora_alpha: float | None = None,
    lwf_weight: float = 1.0,
    wanted_acc: float = 0.95,
    probes: list[str] | None = None,
    limit: int | None = None,
    plan_only: bool = False,
    **options: Unpack[Options],
) -> Matrix | None:
    """Moves models to data sets in several modes, and measures what is gained, lost and moved.

    Args:
        models: where they come from, e.g. torchvision:resnet18 checkpoint:FILE. In Python also
            networks.
        data: names with an optional folder, e.g. MNIST CIFAR10:FOLDER ImageFolder:FOLDER; in YAML
            and Python also data sets with options.
        modes: probe, last_k, lora, adapter, staged, l2_sp, lwf, lp_ft, full; untouched is always
            measured.
        seeds: of heads, choices and orders.
        fractions: of the labelled images: 5/class, 1000, all; 20 % of them select.
        sources: data set each model was trained on, or none: for what it forgets.
        tuning: the recipe of the modes that train the backbone.
        batch_size: images in a training step.
        min_steps: of a training; a few images are seen in as many epochs more.
        last_k: blocks that last_k trains besides the head.
        alpha: pull of l2_sp to where the weights started.
        lora_rank: of the changes that lora makes.
        lora_alpha: they are multiplied by this and divided by the rank; default: the rank.
        lwf_weight: of the old classes' answers in lwf, beside the new ones.
        wanted_acc: accuracy on new data, for which the needed labelled images are told: from at
            least 4 fractions and 2 seeds.
        probes: names, see `assay list probes`: robustness of every finished model, e.g. fgsm.
        limit: test images of each data set; default: all.
        plan_only: print the plan and stop.
        **options: see `Options`.

    Returns:
        All cells and tables; None where only the plan was asked for.

    Raises:
        UserError: something the user can mend.
    """
    study = Study("transfer", "variability", options, TRAINER)
    study.on_one_device(_ONE_DEVICE)
    steps = (int(study.flags["max_epochs"]), min_steps, batch_size)
    own = (last_k, alpha, lora_rank, lora_alpha, lwf_weight)
    recipe = Recipe(tuning, *steps, *own, tuple(probes or ()), study.flags)
    chosen, parts = checked_modes(modes), [Fraction(text) for text in fractions]
    study.notes += check_heeded(recipe, chosen)
    several = models if isinstance(models, list) else [models]
    sets = data if isinstance(data, list) else [data]
    if not 0 < wanted_acc < 1:
        raise UserError(f"Expected `wanted_acc` between 0 and 1, but got {wanted_acc}.")
    if wanted_acc != 0.95 and len(parts) == 1:
        raise UserError(
            "Got `wanted_acc` with one of --fractions, but the labelled images it takes are told "
            "from several: leave it out, or name more, e.g. --fractions 1/class 5/class 20/class "
            "all."
        )
    if not (several and sets and seeds and parts):
        raise UserError("Expected at least one of --models, --data, --seeds and --fractions each.")

    tasks = open_tasks(study, sets, limit)
    loaded = open_models(study, several, tasks, sources)
    pairs, impossible = make_pairs(study, loaded, tasks, parts, seeds)
    _meet(study, loaded, pairs)
    names = [[one.name for one in group] for group in (loaded, tasks)]
    transfers = transfers_of(names[0], names[1], chosen, fractions, seeds)
    transfers = [one for one in transfers if one[:2] in pairs]
    origins = {model.name: make_source(study, model) for model in loaded}
    plan = planned(study, transfers, pairs, origins, recipe)
    if study.parent is None:  # which has printed a plan of its own
        print_sheet(plan_sheet(("model", "mode"), plan))
    for failed in impossible:
        study.say(f"FAILED   {failed.transfer.model} on {failed.transfer.data}: {failed.error}")
    if plan_only:
        return None

    settings = {"cells": [cell.key for cell in plan]}
    if wanted_acc != 0.95:
        settings["wanted"] = [str(wanted_acc)]
    if impossible:
        settings["impossible"] = [str(failed.transfer) for failed in impossible]
    with study.running(study.name(*names[0]), settings):
        outcomes = [*carried_out(study, plan, recipe), *impossible]
        study.notes += _notes(pairs, outcomes)
        grid = Grid(
            outcomes,
            [PairFacts(*two, pair.own_head, predicted_scores(pair)) for two, pair in pairs.items()],
            {task.name: task.data.classes for task in tasks},
            {task.name: task.data.manifest_digest() for task in tasks},
            {mode: recipe.facts(mode) for mode in chosen},
            wanted=wanted_acc,
        )
        matrix = Matrix(_about(study, loaded), grid, recipe.parameters())
        for model in loaded if len(loaded) > 1 else ():
            passport = replace(matrix, about=_about(study, [model]), grid=grid.of(model.name))
            study.log_stage(model.name, passport, model=model.classifier.source or model.name)
        study.finish(matrix)
    return matrix


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


def _about(study: Study, models: Sequence[Model]) -> About:
    """What a result of these models is about, under the names that tell them apart."""
    about = study.about(*(model.classifier for model in models))
    facts = zip(about.models, models, strict=True)
    return replace(about, models=[{**known, "name": model.name} for known, model in facts])


def _notes(pairs: Mapping[tuple[str, str], Pair], outcomes: Sequence[Outcome]) -> list[str]:
    """What was adapted, pair by pair, and which trainings went wrong."""
    adapted = [(f"{m} on {t}", "; ".join(pair.notes()) + ".") for (m, t), pair in pairs.items()]
    trained = [(str(o.transfer), note) for o in outcomes if not o.error for note in o.notes]
    subjects: dict[str, list[str]] = {}
    for about, note in (*adapted, *trained):
        subjects.setdefault(note, []).append(about)
    return [f"{', '.join(about)}: {note}" for note, about in subjects.items() if note != "."]
