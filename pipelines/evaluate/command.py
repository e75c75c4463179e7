"""`assay evaluate`: one pass over the test data with any probes, into MLflow and a page."""

import copy
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from typing_extensions import Unpack  # Python 3.10 has none

from callbacks import Probe, companions
from callbacks.adversarial import SPATIAL, UNIVERSAL
from callbacks.adversarial.minimum_norm import Distance
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier
from pipelines.cli import COMMANDS
from pipelines.evaluate.attack_option import AttackOption
from pipelines.evaluate.corruption_option import corruption_probes
from pipelines.evaluate.measure import TRAINER, budget_of, make_probes, measure, prepare_probes
from pipelines.evaluate.result import Evaluation
from pipelines.evaluate.surrogate import architectures, open_surrogate
from pipelines.study import DataLike, ModelLike, Options, Study
from pipelines.study.arguments import parse
from pipelines.study.trainer_flags import check_untrained
from pipelines.tasks.measure import MakeProbes, measure_tasks, task_attack
from pipelines.tasks.result import TaskEvaluation


def main(words: list[str]) -> int:
    """Runs the command line."""
    evaluate(**parse(evaluate, words, TRAINER, COMMANDS["evaluate"].example))
    return 0


def evaluate(
    model: ModelLike,
    data: DataLike,
    probes: list[Probe | str] | None = None,
    preset: Literal["quick", "regular", "full"] = "quick",
    corruption: list[str] | None = None,
    attack: str | None = None,
    norm: Distance | None = None,
    epsilon: list[float | str] | None = None,
    steps: int | None = None,
    restarts: int | None = None,
    target: str | None = None,
    eot: int | None = None,
    masking: bool = True,
    surrogate: ModelLike | None = None,
    adversarials: int = 4,
    **options: Unpack[Options],
) -> Evaluation | TaskEvaluation:
    """Measures a model in one pass over test data and logs every number with its interval.

    Args:
        model: where it comes from, e.g. torchvision:resnet18, checkpoint:FILE, mlflow:runs:/ID; see
            `assay list models`. In Python also a network.
        data: what it is tested on; see `assay list data`. In Python also a loader or a data set.
        probes: names (see `assay list probes`), or objects in YAML; default: those of the preset.
        preset: samples, budgets and default probes; see `assay list presets`.
        corruption: corruptions by name, in place of the preset's probes or beside those named, and
            transforms of other libraries whose swept parameter is the severity, as
            "torchvision:GaussianBlur(kernel_size=9, sigma=0.5|1|2|3|4)", albumentations:Name(...),
            nrtk:Name(...); see `assay list corruptions`.
        attack: an attack by name, without YAML, in place of the preset's probes or beside those
            named; see `assay list attacks minimum_norm spatial universal`.
        norm: of the attack's ball: linf (the default), l2 or l1. Of a minimum-norm attack what is
            least: l2 (the default), linf, l1, or l0, which counts coordinates.
        epsilon: its radii in pixel units, as 8/255 or 0.3; default: the data set's usual one. Of a
            minimum-norm attack the points of its curve, which cost nothing; of spatial the largest
            angle in degrees (30), of patch the share of the image (0.1).
        steps: of the attack; default: its own.
        restarts: of the attack; default: its own.
        target: towards which class it moves: next, least_likely, random, or a class.
        eot: draws that each of its gradients is averaged over, for a model that answers at random
            (expectation over transformation); default: 1, and 20 in autoattack_rand.
        surrogate: of `--attack transfer`: the model that it is carried out on, as `model`; a second
            `--arch` is its.
        masking: look for gradient masking beside every attack, on about 100 images, at a cost of at
            most 60 passes for each image and step; false: the report says that nobody looked.
        adversarials: images of every attack and radius that are saved as 8-bit PNG, read back and
            judged again: the first that it broke, by index; 0 saves none.
        **options: see `Options`.

    Returns:
        The evaluation: rows of every probe and what they were measured with. Of a model with
        several heads every task is measured, all of them as one, and attacks across tasks.

    Raises:
        UserError: something the user can mend.
        KeyboardInterrupt: after the rows so far are logged.
    """
    if adversarials < 0:
        raise UserError(f"Expected `adversarials` to be at least 0, but got {adversarials}.")
    study = Study("evaluate", "robustness", options, TRAINER)
    check_untrained(study.flags, "evaluate", TRAINER)
    opened = study.open_data(data)
    study.notes += _idle_options(opened)
    archs = architectures(study, surrogate)
    classifier = study.open_model(model, opened, arch=archs[0]).eval()
    option = AttackOption(attack, norm, epsilon, steps, restarts, target, surrogate, eot)
    if option.asks_for_surrogate and surrogate is not None:
        opened_surrogate = open_surrogate(study, surrogate, opened, archs[1])
        option = replace(option, surrogate=opened_surrogate)

    def chosen_probes(classes: Sequence[str]) -> list[Probe]:
        named = copy.deepcopy(probes)  # of several tasks each has its own
        if one := option.probe(budget_of(preset, study), classes):
            named = [*(named or []), one]
        if corruption:
            named = [*(named or []), *corruption_probes(corruption, budget_of(preset, study))]
        chosen = make_probes(named, preset, study, masking)
        if not masking and not companions(chosen, budget_of(preset, study)):
            study.notes.append("`masking` was not used: nothing is attacked.")
        return chosen

    if classifier.tasks:
        return _evaluate_tasks(
            study, classifier, opened, option, preset, chosen_probes, adversarials
        )
    chosen = chosen_probes(opened.classes)
    settings = {"probes": prepare_probes(chosen, classifier, opened, study)}
    with study.running(study.name(), settings):
        evaluation = measure(study, classifier, opened, chosen, adversarials)
        study.finish(evaluation, classifier)
        if evaluation.about.interrupted:
            raise KeyboardInterrupt
    return evaluation


def _evaluate_tasks(
    study: Study, classifier: Classifier, data: ImageDataModule, option: AttackOption, preset: str,
    make: MakeProbes, adversarials: int,
) -> TaskEvaluation:  # fmt: skip
    """Measures a model with several heads; see `measure_tasks`."""
    if option.target is not None or option.surrogate is not None:
        raise UserError(
            "Expected no `target` and no `surrogate` for a model with several tasks, whose classes "
            "are not each other's."
        )
    if option.attack in {*SPATIAL, *UNIVERSAL}:  # the attack across tasks takes its radii
        raise UserError(
            f"Expected `attack` to search a ball of given radius for a model with several tasks, "
            f"e.g. pgd, but got {option.attack}: name it by --probes, for each task by itself."
        )
    effort = (option.norm, option.epsilon, option.steps, option.restarts)
    attack = task_attack(classifier, data, budget_of(preset, study), *effort)
    settings = {
        "tasks": repr(classifier.tasks),
        "probes": [(one.algorithm, one.limit) for one in make(classifier.tasks[0].classes)],
        "across": prepare_probes([attack], classifier, data, study),
        "adversarials": adversarials,
    }
    with study.running(study.name(), settings):
        result = measure_tasks(study, classifier, data, make, attack, adversarials)
        study.finish(result, classifier)
    return result


def _idle_options(data: ImageDataModule) -> list[str]:
    """Of the data what only trainings heed, where the user may think otherwise."""
    usual = inspect.signature(ImageDataModule).parameters
    return [
        f"`data.{name}` was not used: nothing is trained."
        for name in ("augment", "val_fraction")
        if getattr(data, name) != usual[name].default
    ]
