"""A sweep from its first training to its page."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from callbacks.adversarial.probe import SIGNS
from callbacks.words import radius
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier, Perturb
from lightning_modules.duplication import duplicate
from lightning_modules.trainer import device_flags
from pipelines.evaluate.measure import make_probes, measure, prepare_probes
from pipelines.evaluate.result import Evaluation
from pipelines.fine_tune.front import chosen
from pipelines.fine_tune.hardening import made_module
from pipelines.fine_tune.result import SweepResult
from pipelines.fine_tune.sweep import Recipe, Sweep, swept_option
from pipelines.fine_tune.trials import about_data, ball_of, tried, validation
from pipelines.study import Study
from pipelines.study.fitting import Fitting
from pipelines.study.regularisation import tell_regularisation


def swept(
    study: Study,
    classifier: Classifier,
    data: ImageDataModule,
    perturb: Perturb | None,
    recipe: Recipe,
    sweep: Sweep,
    preset: str,
    fitting: Fitting,
) -> Classifier:
    """Trains with every value, takes one on validation images, and measures that on test images.

    Args:
        study: of the command.
        classifier: where each training begins.
        data: to train, validate and test on.
        perturb: disturbs training images.
        recipe: of the training, apart from the weight.
        sweep: which weight, and its values.
        preset: of the evaluation on test images, or none.
        fitting: what the user says of every training besides.

    Returns:
        The classifier of the value that was taken.

    Raises:
        UserError: `ckpt_path` is given, which belongs to one training.
    """
    if fitting.file is not None:
        raise UserError("Expected no `ckpt_path` with --sweep.lambdas: it is of one training.")
    option = swept_option(sweep, recipe)
    # Told here, before the first training: every value makes sense, and the attack has its radius.
    for value in sweep.lambdas:
        at = recipe.at(option, value)
        begun = duplicate(classifier)  # some modes put layers into it
        module = made_module(
            begun, at.tuning, perturb, at.robust, data, study.seed, study.flags, at.regulariser
        )
        fitting.fit_to(module)
    tell_regularisation(study, recipe.regulariser, recipe.tuning, classifier)
    ball = ball_of(perturb, data)
    study.say(f"sweep    {option} over {' '.join(f'{value:g}' for value in sweep.lambdas)}")
    settings = _settings(study, recipe, option, sweep, perturb, preset) | fitting.facts()
    with study.running(study.name(), settings):
        trials, failed = tried(study, classifier, data, perturb, recipe, option, sweep, fitting)
        points = [trial.point for trial in trials]
        choice = chosen(points)
        taken = next(trial.classifier for trial in trials if trial.point.value == choice.value)
        study.models = [taken]
        test = []
        if preset != "none":
            title = f"chosen {option} {choice.value:g} on test images"
            test = _tested(study, taken, data, preset, title)
        unit = SIGNS[ball["norm"]]
        told = f"PGD-{sweep.steps}, {unit} {radius(ball['epsilons'][0], unit)}"
        with about_data(study, validation(data)):
            about = study.about(taken)
        study.finish(SweepResult(about, option, told, points, settings, failed, test), taken)
    study.say(f"weights  {str(taken.source).removeprefix('checkpoint:')}")
    return taken


def _settings(
    study: Study, recipe: Recipe, option: str, sweep: Sweep, perturb: Perturb | None, preset: str
) -> dict[str, Any]:
    """The run's parameters, which also tell its folder from those of other settings."""
    parts = {name: asdict(part) for name, part in recipe._asdict().items()}
    flat = {f"{part}.{name}": v for part, values in parts.items() for name, v in values.items()}
    flat.pop(option)
    measured = {f"sweep.{name}": getattr(sweep, name) for name in ("images", "steps")}
    asked = {"sweep.asked": [*sweep.lambdas], "perturb": repr(perturb), "evaluation": preset}
    return {**flat, **measured, **asked, "flags": repr(study.flags)}


def _tested(
    study: Study, classifier: Classifier, data: ImageDataModule, preset: str, title: str
) -> list[tuple[str, list[float]]]:
    """Measures the model that was taken on test images, in a run of its own."""
    study.flags = device_flags(study.flags)
    probes = make_probes(None, preset, study)
    prepare_probes(probes, classifier, data, study)
    evaluation = measure(study, classifier, data, probes)
    study.log_stage(title, evaluation, classifier, model=classifier.source or "")
    if evaluation.about.interrupted:
        raise KeyboardInterrupt
    return _shares(evaluation)


def _shares(evaluation: Evaluation) -> list[tuple[str, list[float]]]:
    """The evaluation's accuracies: name and interval."""
    numbers: Mapping[str, Any] = evaluation.headline()
    return [
        (f"{number.title} ({number.note})", [float(end) for end in number.interval])
        for number in numbers.values()
        if "accuracy" in number.title.lower() and math.isfinite(number.interval.value)
    ]
