"""`assay fine-tune`: train a classifier on your images, keep it, and evaluate it."""

from pathlib import Path
from typing import Literal

from typing_extensions import Unpack  # Python 3.10 has none

from datamodules.errors import UserError
from lightning_modules import Classifier, Perturb, Tuning
from lightning_modules.robust import RobustRecipe
from lightning_modules.trainer import device_flags
from pipelines.cli import COMMANDS
from pipelines.evaluate.measure import budget_of, make_probes, measure, prepare_probes
from pipelines.fine_tune.hardening import made_module
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.training import TRAINER, trained_weights
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
    tasks: Path | None = None,
    evaluation: Literal["quick", "regular", "full", "none"] = "quick",
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
        tasks: YAML or CSV that says what each class of the data is in several tasks, as `digit:
            same` and `parity: {even: [0, 2], odd: [1, 3]}`: one backbone learns a head for each.
        evaluation: preset of the evaluation afterwards, or none.
        **options: see `Options`.

    Returns:
        The trained classifier, with the weights of the epoch of the best accuracy on validation
        images, or of the best robust accuracy.

    Raises:
        UserError: something the user can mend.
        DivergedError: the loss is no number.
    """
    study = Study("fine-tune", "training", options, TRAINER)
    opened = study.open_data(data)
    if tasks is None:
        classifier = study.open_model(model, opened, new_head=True).train()
        module = made_module(classifier, tuning, perturb, robust, opened, study.seed, study.flags)
    else:
        if robust != RobustRecipe():
            raise UserError("Expected no --robust options with `tasks`: attacks train one task.")
        classifier = open_with_heads(study, model, opened, tasks).train()
        module = task_module(classifier, opened, tuning, perturb, study.seed)
    if perturb:
        study.say(f"perturb  {module.perturb!r}")
    name, facts = study.name(), {"robust": repr(robust)} if perturb else {}
    facts |= {"tasks": repr(classifier.tasks)} if classifier.tasks else {}
    settings = {"tuning": repr(tuning), "perturb": repr(perturb), "evaluation": evaluation, **facts}
    with study.running(name, settings) as run:
        folder = trained_weights(study, module, opened, name, run, facts)
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
