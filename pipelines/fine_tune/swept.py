"""A sweep from its first training to its page."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from callbacks.adversarial.probe import SIGNS
from callbacks.words import radius
from datamodules import ImageDataModule, Joined
from datamodules.errors import UserError
from lightning_modules import Classifier
from lightning_modules.duplication import duplicate
from lightning_modules.trainer import device_flags
from pipelines.evaluate.measure import make_probes, measure, prepare_probes
from pipelines.evaluate.result import Evaluation
from pipelines.fine_tune.front import chosen
from pipelines.fine_tune.hardening import made_module
from pipelines.fine_tune.opening import begun, open_one_head
from pipelines.fine_tune.result import SweepResult
from pipelines.fine_tune.sweep import Recipe, swept_option
from pipelines.fine_tune.trials import Sweeping, about_data, tried
from pipelines.study import Study
from pipelines.study.regularisation import tell_regularisation


def opened_sweep(asked: Mapping[str, Any]) -> Sweeping:
    """Opens model and data, and checks every value.

    Args:
        asked: arguments of `fine-tune`, options included.

    Raises:
        UserError: something the user can mend.
    """
    one = begun(asked)
    study, data, tuning, fitting = one
    if asked["tasks"] is not None or isinstance(data, Joined):
        raise UserError("Expected no `sweep` with `tasks`: it knows one head.")
    if fitting.file is not None:
        raise UserError("Expected no `ckpt_path` with --sweep.lambdas: it is of one training.")
    if asked["engine"].kind != "none":
        study.on_one_device("each worker has one.")
    classifier = open_one_head(one, asked)
    recipe = Recipe(tuning, asked["robust"], asked["regulariser"])
    option = swept_option(asked["sweep"], recipe)
    sweeping = Sweeping(
        study, classifier, data, asked["perturb"], recipe, option, asked["sweep"], fitting,
        asked["evaluation"],
    )  # fmt: skip
    # Told here, before the first training: every value makes sense, and the attack has its radius.
    for value in sweeping.sweep.lambdas:
        at = recipe.at(option, value)
        fresh = duplicate(classifier)  # some modes put layers into it
        module = made_module(
            fresh, at.tuning, sweeping.perturb, at.robust, data, study.seed, study.flags,
            at.regulariser,
        )  # fmt: skip
        fitting.fit_to(module)
    tell_regularisation(study, recipe.regulariser, recipe.tuning, classifier)
    return sweeping


def swept(sweeping: Sweeping, fill: Callable[[], None]) -> Classifier:
    """Trains with every value, takes one on validation images, and measures that on test images.

    Args:
        sweeping: what is opened.
        fill: lets workers train and measure.

    Returns:
        The classifier of the value that was taken.
    """
    study, option, sweep, ball = sweeping.study, sweeping.option, sweeping.sweep, sweeping.ball
    study.say(f"sweep    {option} over {' '.join(f'{value:g}' for value in sweep.lambdas)}")
    settings = _settings(sweeping) | sweeping.fitting.facts()
    with study.running(study.name(), settings):
        fill()
        trials, failed = tried(sweeping)
        points = [trial.point for trial in trials]
        choice = chosen(points)
        taken = next(trial.classifier for trial in trials if trial.point.value == choice.value)
        study.models = [taken]
        test = []
        if sweeping.preset != "none":
            title = f"chosen {option} {choice.value:g} on test images"
            test = _tested(study, taken, sweeping.data, sweeping.preset, title)
        unit = SIGNS[ball["norm"]]
        told = f"PGD-{sweep.steps}, {unit} {radius(ball['epsilons'][0], unit)}"
        with about_data(study, sweeping.served):
            about = study.about(taken)
        study.finish(SweepResult(about, option, told, points, settings, failed, test), taken)
    study.say(f"weights  {str(taken.source).removeprefix('checkpoint:')}")
    return taken


def _settings(sweeping: Sweeping) -> dict[str, Any]:
    """The run's parameters, which also tell its folder from those of other settings."""
    sweep = sweeping.sweep
    parts = {name: asdict(part) for name, part in sweeping.recipe._asdict().items()}
    flat = {f"{part}.{name}": v for part, values in parts.items() for name, v in values.items()}
    flat.pop(sweeping.option)
    measured = {f"sweep.{name}": getattr(sweep, name) for name in ("images", "steps")}
    asked = {
        "sweep.asked": [*sweep.lambdas], "perturb": repr(sweeping.perturb),
        "evaluation": sweeping.preset,
    }  # fmt: skip
    return {**flat, **measured, **asked, "flags": repr(sweeping.study.flags)}


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
