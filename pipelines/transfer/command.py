"""`assay transfer`: which model, tuned how, for which data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from typing_extensions import Unpack  # Python 3.10 has none

from lightning_modules import Tuning
from pipelines.cli import COMMANDS
from pipelines.engine import Engine, opened_on
from pipelines.report.about import About
from pipelines.report.plan import plan_sheet
from pipelines.report.terminal import print_sheet
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.transfer.cell import Outcome
from pipelines.transfer.grid import Grid, PairFacts
from pipelines.transfer.opened import TRAINER, Opened, opened
from pipelines.transfer.pair import Pair
from pipelines.transfer.plan import carried_out
from pipelines.transfer.predicted import predicted_scores
from pipelines.transfer.result import Matrix
from pipelines.transfer.tasks import Model


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
    engine: Engine = Engine(),  # noqa: B008  (frozen)
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
        engine: workers that measure the cells: by Ray or by submitit, e.g. as SLURM's jobs.
        **options: see `Options`.

    Returns:
        All cells and tables; None where only the plan was asked for.

    Raises:
        UserError: something the user can mend.
    """
    with opened_on(engine, opened, locals()) as (matrix, fill):
        return _measured(matrix, fill)


def _measured(matrix: Opened, fill: Callable[[], None]) -> Matrix | None:
    """The result; None where only the plan was asked for."""
    study, loaded, plan = matrix.study, matrix.models, matrix.plan
    if study.parent is None:  # which has printed a plan of its own
        print_sheet(plan_sheet(("model", "mode"), plan))
    for failed in matrix.impossible:
        study.say(f"FAILED   {failed.transfer.model} on {failed.transfer.data}: {failed.error}")
    if matrix.plan_only:
        return None

    names = [model.name for model in loaded]
    with study.running(study.name(*names), matrix.settings):
        fill()
        outcomes = [*carried_out(study, plan, matrix.recipe), *matrix.impossible]
        study.notes += _notes(matrix.pairs, outcomes)
        result = Matrix(_about(study, loaded), _grid(matrix, outcomes), matrix.recipe.parameters())
        for model in loaded if len(loaded) > 1 else ():
            about = _about(study, [model])
            passport = replace(result, about=about, grid=result.grid.of(model.name))
            study.log_stage(model.name, passport, model=model.classifier.source or model.name)
        study.finish(result)
    return result


def _grid(matrix: Opened, outcomes: Sequence[Outcome]) -> Grid:
    """All cells, with what is known of pairs and data sets."""
    facts = [
        PairFacts(*two, pair.own_head, predicted_scores(pair)) for two, pair in matrix.pairs.items()
    ]
    return Grid(
        outcomes,
        facts,
        {task.name: task.data.classes for task in matrix.tasks},
        {task.name: task.data.manifest_digest() for task in matrix.tasks},
        {mode: matrix.recipe.facts(mode) for mode in matrix.modes},
        wanted=matrix.wanted,
    )


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
