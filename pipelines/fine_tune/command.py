"""`assay fine-tune`: train a classifier on your images, keep it, and evaluate it."""

from pathlib import Path
from typing import Literal

from typing_extensions import Unpack  # Python 3.10 has none

from datamodules import Joined
from datamodules.errors import UserError
from lightning_modules import Classifier, Perturb, Regularisation, Tuning
from lightning_modules.own_optimization import MakeOptimizer, MakeScheduler
from lightning_modules.robust import RobustRecipe
from lightning_modules.trainer import device_flags
from pipelines.cli import COMMANDS
from pipelines.engine import Engine, opened_on
from pipelines.evaluate.measure import budget_of, make_probes, measure, prepare_probes
from pipelines.fine_tune.hardening import made_module
from pipelines.fine_tune.opening import begun, open_one_head
from pipelines.fine_tune.sweep import Sweep
from pipelines.fine_tune.swept import opened_sweep, swept
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.fitting import Checkpoint, EarlyStopping
from pipelines.study.regularisation import tell_regularisation
from pipelines.study.trainer_flags import TRAINER
from pipelines.study.training import trained_weights
from pipelines.tasks.measure import measure_tasks, task_attack
from pipelines.tasks.opening import open_with_heads, task_module


def main(words: list[str]) -> int:
    """Runs the command line."""
    fine_tune(**parse(fine_tune, words, TRAINER, COMMANDS["fine-tune"].example))
    return 0


def fine_tune(
    model: ModelLike,
    data: DataLike,
    tuning: Tuning = Tuning(),  # noqa: B008  (frozen)
    perturb: Perturb | None = None,
    robust: RobustRecipe = RobustRecipe(),  # noqa: B008  (frozen)
    optimizer: MakeOptimizer | None = None,
    scheduler: MakeScheduler | None = None,
    lr_find: bool = False,
    early_stopping: EarlyStopping = EarlyStopping(),  # noqa: B008  (frozen)
    checkpoint: Checkpoint = Checkpoint(),  # noqa: B008  (frozen)
    ckpt_path: str | None = None,
    regulariser: Regularisation = Regularisation(),  # noqa: B008  (frozen)
    sweep: Sweep = Sweep(),  # noqa: B008  (frozen)
    tasks: Path | None = None,
    evaluation: Literal["quick", "regular", "full", "none"] = "quick",
    engine: Engine = Engine(),  # noqa: B008  (frozen)
    **options: Unpack[Options],
) -> Classifier:
    """Trains a classifier on labelled images, keeps the best epoch, and evaluates it.

    Args:
        model: where it starts, e.g. lenet, torchvision:resnet18, checkpoint:FILE; a head for other
            classes is replaced. In Python also a network.
        data: what it is trained, validated and tested on.
        tuning: the recipe.
        perturb: disturbs training images: noise, or an attack for adversarial training; a recipe by
            name is --config pgd_at, fast_at, free_at, trades, mart, noise, corrupted or augmix.
        robust: of training images that are attacked: the loss, and which epoch is kept.
        optimizer: in place of the recipe's: a class of torch.optim with its options, e.g.
            torch.optim.SGD --optimizer.lr 0.01; in Python what makes it of parameters.
        scheduler: of the learning rate, in place of the recipe's, stepped once an epoch: a class of
            torch.optim.lr_scheduler with its options; in Python what makes it of an optimizer.
        lr_find: look for the learning rate by a short trial before.
        early_stopping: when the training ends before its last epoch.
        checkpoint: when it is written to disk; the same command goes on after it was stopped.
        ckpt_path: checkpoint of another training to go on from, or last: go on or say that there is
            nothing to go on with.
        regulariser: what is added to the loss, each with its weight; see `assay list regularisers`.
        sweep: several values of one weight, a training for each; the one that is taken is chosen on
            validation images, and the front of clean and robust accuracy drawn.
        tasks: YAML or CSV that says what each class of the data is in several tasks, as `digit:
            same` and `parity: {even: [0, 2], odd: [1, 3]}`: one backbone learns a head for each. Of
            `--data Joined:digit=MNIST,photo=ImageFolder:photos` each data set is a task.
        evaluation: preset of the evaluation afterwards, or none.
        engine: workers for the trainings of a sweep: by Ray or by submitit, e.g. as SLURM's jobs.
        **options: see `Options`.

    Returns:
        The trained classifier, with the weights of the epoch of the best accuracy on validation
        images, or of the best robust accuracy; of a sweep, the one that was chosen.

    Raises:
        UserError: something the user can mend.
        DivergedError: the loss is no number.
    """
    asked = dict(locals())
    if sweep.lambdas:
        with opened_on(engine, opened_sweep, asked) as (sweeping, fill):
            return swept(sweeping, fill)
    if engine.kind != "none":
        raise UserError(
            "Got `engine.kind` without --sweep.lambdas, whose values workers share out: leave the "
            "engine out, or give one training several devices by --trainer.devices."
        )
    one = begun({**asked, **options})
    study, opened, tuning, fitting = one
    if tasks is not None or isinstance(opened, Joined):
        _check_tasks(tuning, robust, regulariser)
        classifier = open_with_heads(study, model, opened, tasks).train()
        module = task_module(classifier, opened, tuning, perturb, study.seed)
    else:
        classifier = open_one_head(one, asked)
        module = made_module(
            classifier, tuning, perturb, robust, opened, study.seed, study.flags, regulariser
        )
    fitting.fit_to(module)
    if module.told:
        study.say(f"learning {module.told}")
        study.notes.append(f"{module.told}.")
    if perturb:
        study.say(f"perturb  {module.perturb!r}")
    tell_regularisation(study, regulariser, module.tuning, classifier)
    name, facts = study.name(), {"robust": repr(robust)} if perturb else {}
    facts |= {"tasks": repr(classifier.tasks)} if classifier.tasks else {}
    settings = {
        "tuning": repr(tuning), "perturb": repr(perturb), "evaluation": evaluation,
        **facts, **fitting.facts(), **({"lr_find": True} if lr_find else {}),
        **({"regulariser": regulariser.chosen} if regulariser.chosen else {}),
    }  # fmt: skip
    with study.running(name, settings) as run:
        folder = trained_weights(study, module, opened, name, run, facts, fitting)
        classifier.source = f"checkpoint:{folder}"
        study.say(f"weights  {folder}")
        if evaluation != "none":
            _evaluate(study, classifier.eval(), evaluation)
    study.say(
        "\nYour own model:  assay evaluate --model checkpoint:FILE --arch torchvision:resnet18 "
        "--data ImageFolder:FOLDER"
    )
    return classifier


def _evaluate(study: Study, classifier: Classifier, preset: str) -> None:
    """Measures what was trained, in the same run."""
    study.flags = device_flags(study.flags)
    (data,) = study.data
    if classifier.tasks:
        budget = budget_of(preset, study)
        attack = task_attack(classifier, data, budget, None, None, None, None)
        prepare_probes([attack], classifier, data, study)
        study.finish(
            measure_tasks(
                study, classifier, data, lambda _: make_probes(None, preset, study), attack, 0
            ),
            classifier,
        )
        return
    probes = make_probes(None, preset, study)
    prepare_probes(probes, classifier, data, study)
    evaluation = measure(study, classifier, data, probes)
    study.finish(evaluation, classifier)
    if evaluation.about.interrupted:
        raise KeyboardInterrupt


def _check_tasks(tuning: Tuning, robust: RobustRecipe, regulariser: Regularisation) -> None:
    """Refuses what no training of several heads knows."""
    if tuning.mode not in ("full", "linear_probe"):
        raise UserError(
            f"Expected `tuning.mode` full or linear_probe with `tasks`, but got {tuning.mode}."
        )
    if robust != RobustRecipe():
        raise UserError("Expected no --robust options with `tasks`: attacks train one task.")
    if regulariser.chosen:
        raise UserError("Expected no `regulariser` with `tasks`: it knows one head.")
