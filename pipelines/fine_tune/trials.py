"""Trains and measures the values of a sweep; what is on disk already is taken from there."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import pandas as pd

from callbacks import AdversarialProbe, Probe, probe_entries
from callbacks.adversarial import PGD
from callbacks.digests import model_digest
from callbacks.worst_case import robustly_correct
from datamodules import ImageDataModule
from datamodules.errors import UserError
from lightning_modules import Classifier, DivergedError, Perturb
from lightning_modules.duplication import duplicate
from lightning_modules.trainer import device_flags
from pipelines.evaluate.measure import budget_of, measure, prepare_probes
from pipelines.evaluate.result import Evaluation
from pipelines.fine_tune.front import Point
from pipelines.fine_tune.hardening import made_module
from pipelines.fine_tune.sweep import Recipe, Sweep
from pipelines.report.result import load_result, save_result
from pipelines.study import Study, slug
from pipelines.study.cells import Cell
from pipelines.study.fitting import Fitting
from pipelines.study.training import shuffled, trained_weights

_VERSION = 1
"""To be raised with whatever changes a number that is measured here."""


class Trial(NamedTuple):
    """One value of the weight, trained and measured."""

    point: Point
    classifier: Classifier


def tried(
    study: Study,
    classifier: Classifier,
    data: ImageDataModule,
    perturb: Perturb | None,
    recipe: Recipe,
    option: str,
    sweep: Sweep,
    fitting: Fitting,
) -> tuple[list[Trial], dict[str, str]]:
    """A training for each value, all from the same start, measured on validation images.

    Args:
        study: of the runs, one a value.
        classifier: where each begins; not changed.
        data: to train and validate on.
        perturb: disturbs training images.
        recipe: of the training, apart from the weight.
        option: which weight.
        sweep: its values, and how they are measured.
        fitting: what the user says of every training besides.

    Returns:
        The trials, and why others diverged, by their title.

    Raises:
        DivergedError: all did.
    """
    ball = ball_of(perturb, data)
    served = validation(data)
    trials: list[Trial] = []
    failed: dict[str, str] = {}
    for value in sweep.lambdas:
        title = f"{option} {value:g}"
        study.say(f"train    {title}")
        try:
            trained = _trained(study, classifier, data, perturb, recipe, option, value, fitting)
        except DivergedError as error:
            failed[title] = str(error)
            study.say(f"WARNING  {title} diverged and is left out: {error}")
            continue
        evaluation = _measured(study, trained, served, title, ball, sweep)
        point = Point(value, rows_of(evaluation, ball))
        if not point.rows["robust"].any() and recipe.robust.monitor == "val/robust_acc" and perturb:
            study.notes.append(
                f"{title}: nothing stands up, so that robust accuracy cannot tell its epochs apart "
                "and an early one was kept; for its best clean accuracy say --robust.select acc."
            )
        trials.append(Trial(point, trained))
    if not trials:
        raise DivergedError("; ".join(failed.values()))
    return trials, failed


def validation(data: ImageDataModule) -> ImageDataModule:
    """The data set with its validation images in the place of the test images."""
    served = data.with_images(test=data.images("val"))
    served.notes.append("Measured on validation images, by which the weight is chosen.")
    return served


def rows_of(evaluation: Evaluation, ball: Mapping[str, Any]) -> pd.DataFrame:
    """`index clean robust` of an evaluation's images."""
    clean = next(result.rows for result in evaluation.results if result.name == "clean")
    attacked = next(result.rows for result in evaluation.results if result.name != "clean")
    at = attacked.loc[(attacked["value"] - ball["epsilons"][0]).abs() < 1e-9]
    at = at.assign(robust=robustly_correct(at))[["index", "robust"]]
    both = clean.assign(clean=clean["correct"])[["index", "clean"]].merge(at, on="index")
    return both.sort_values("index").astype("int64").reset_index(drop=True)


def ball_of(perturb: Perturb | None, data: ImageDataModule) -> dict[str, Any]:
    """Norm and radius that robust accuracy is about: those of the training, else the usual ones.

    Raises:
        UserError: nobody names a radius.
    """
    if perturb is not None and hasattr(perturb, "epsilon"):
        attack: Any = perturb
        return {"norm": attack.norm, "epsilons": [attack.epsilon]}
    if "Linf" not in data.epsilon:
        raise UserError(
            f"Expected `perturb` with a radius for a sweep, because {data.title} has no usual one."
        )
    return {"norm": "linf", "epsilons": [data.epsilon["Linf"]]}


def _trained(
    study: Study, classifier: Classifier, data: ImageDataModule, perturb: Perturb | None,
    recipe: Recipe, option: str, value: float, fitting: Fitting,
) -> Classifier:  # fmt: skip
    """A copy of the classifier after its training, with the epoch that validation chose."""
    fresh, at = duplicate(classifier).train(), recipe.at(option, value)
    # Attacks count their batches: no training may depend on those before it.
    disturbing = copy.deepcopy(perturb)
    L.seed_everything(study.seed, verbose=False)
    module = made_module(
        fresh, at.tuning, disturbing, at.robust, data, study.seed, study.flags, at.regulariser
    )
    fitting.fit_to(module)
    title = f"{option} {value:g}"
    facts = {"robust": repr(at.robust) if perturb else "", "sweep": _VERSION}
    name = f"{study.name()}-{slug(title)}"
    with study.stage(title, model=classifier.source or classifier.architecture) as run:
        folder = trained_weights(
            study, module, shuffled(data, study.seed), name, run, facts, fitting
        )
    fresh.eval().source = f"checkpoint:{folder}"
    return fresh


def _measured(
    study: Study, classifier: Classifier, served: ImageDataModule, title: str,
    ball: Mapping[str, Any], sweep: Sweep,
) -> Evaluation:  # fmt: skip
    """Clean and robust accuracy on validation images, kept in a cell and logged to the value's run.

    The attack is PGD, run to its last step only where the image still stands.
    """
    with about_data(study, served):
        probes = _probes(study, ball, sweep)
        settings = prepare_probes(probes, classifier, served, study)

        def work(folder: Path) -> Cell:
            study.say(f"measure  {title}")
            evaluation = measure(study, classifier, served, probes)
            if evaluation.about.interrupted:
                raise KeyboardInterrupt  # its rows are in mlruns/resume; half a cell is none
            save_result(evaluation, folder / "evaluation")
            return Cell({})

        of = {
            "cell": "sweep", "version": _VERSION, "model": model_digest(classifier),
            "data": served.manifest_digest(), "probes": settings, "seed": study.seed,
            "computed": study.computed_on,
        }  # fmt: skip
        cell = study.cells.measured(of, work)
        assert cell.folder is not None
        evaluation = load_result(cell.folder / "evaluation")  # what is shown is what is kept
        assert isinstance(evaluation, Evaluation)
        study.log_stage(title, evaluation, classifier, model=classifier.source or "")
    return evaluation


def _probes(study: Study, ball: Mapping[str, Any], sweep: Sweep) -> list[Probe]:
    attack = AdversarialProbe(
        PGD(steps=sweep.steps), **ball, limit=sweep.images, chunk=study.chunk, seed=study.seed
    )
    return [probe_entries()["clean"](budget_of("quick", study)), attack]


@contextmanager
def about_data(study: Study, data: ImageDataModule) -> Iterator[None]:
    """Lets results of the study be about other images, and about where they are computed alone."""
    before, flags = study.data, study.flags
    study.data, study.flags = [data], device_flags(flags)  # the others are about training
    try:
        yield
    finally:
        study.data, study.flags = before, flags
