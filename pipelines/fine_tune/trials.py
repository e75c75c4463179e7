"""Trains and measures the values of a sweep; what is on disk already is taken from there."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
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
from pipelines.engine import LostWorkerError, Piece, Unit, units_of
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


@dataclass(frozen=True)
class Sweeping:
    """Everything that is known of a sweep before its first training.

    Args:
        study: of the command, or of a worker.
        classifier: where each training begins; not changed.
        data: to train, validate and test on.
        perturb: disturbs training images.
        recipe: of the training, apart from the weight.
        option: which weight.
        sweep: its values, and how they are measured.
        fitting: what the user says of every training besides.
        preset: of the evaluation on test images, or none.
    """

    study: Study
    classifier: Classifier
    data: ImageDataModule
    perturb: Perturb | None
    recipe: Recipe
    option: str
    sweep: Sweep
    fitting: Fitting
    preset: str

    @cached_property
    def ball(self) -> dict[str, Any]:
        """What robust accuracy is about; see `ball_of`."""
        return ball_of(self.perturb, self.data)

    @cached_property
    def served(self) -> ImageDataModule:
        """The data set with its validation images in the place of the test images."""
        served = self.data.with_images(test=self.data.images("val"))
        served.notes.append("Measured on validation images, by which the weight is chosen.")
        return served

    def title(self, value: float) -> str:
        """Of the run of a value."""
        return f"{self.option} {value:g}"

    @property
    def pieces(self) -> list[Piece]:
        """A training and its measurement for each value."""
        return [Piece(self.title(v), partial(self._tried, value=v)) for v in self.sweep.lambdas]

    def units(self) -> list[Unit]:
        """Values of which something is not there."""
        return units_of(self.study, self.pieces)

    def measure(self, number: int) -> None:
        """Trains with a value, and measures it."""
        self.pieces[number].work(self.study)

    def _tried(self, study: Study, value: float) -> None:
        _measured(study, self, _trained(study, self, value), value)


def tried(sweeping: Sweeping) -> tuple[list[Trial], dict[str, str]]:
    """A training for each value, all from the same start, measured on validation images.

    Returns:
        The trials, and why others diverged, by their title.

    Raises:
        DivergedError: all did.
    """
    study, robust = sweeping.study, sweeping.recipe.robust
    trials: list[Trial] = []
    failed: dict[str, str] = {}
    for value in sweeping.sweep.lambdas:
        title = sweeping.title(value)
        study.say(f"train    {title}")
        try:
            trained = _trained(study, sweeping, value)
            measured = _measured(study, sweeping, trained, value)
        except (DivergedError, LostWorkerError) as error:
            failed[title] = str(error)
            went = "diverged" if isinstance(error, DivergedError) else "was lost"
            study.say(f"WARNING  {title} {went} and is left out: {error}")
            continue
        evaluation = _logged(sweeping, measured, trained, title)
        point = Point(value, rows_of(evaluation, sweeping.ball))
        blind = robust.monitor == "val/robust_acc" and sweeping.perturb
        if not point.rows["robust"].any() and blind:
            study.notes.append(
                f"{title}: nothing stands up, so that robust accuracy cannot tell its epochs apart "
                "and an early one was kept; for its best clean accuracy say --robust.select acc."
            )
        trials.append(Trial(point, trained))
    if not trials:
        raise DivergedError("; ".join(failed.values()))
    return trials, failed


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


def _trained(study: Study, sweeping: Sweeping, value: float) -> Classifier:
    """A copy of the classifier after its training, with the epoch that validation chose."""
    data, at = sweeping.data, sweeping.recipe.at(sweeping.option, value)
    fresh = duplicate(sweeping.classifier).train()
    # Attacks count their batches: no training may depend on those before it.
    disturbing = copy.deepcopy(sweeping.perturb)
    L.seed_everything(study.seed, verbose=False)
    module = made_module(
        fresh, at.tuning, disturbing, at.robust, data, study.seed, study.flags, at.regulariser
    )
    sweeping.fitting.fit_to(module)
    title = sweeping.title(value)
    facts = {"robust": repr(at.robust) if disturbing else "", "sweep": _VERSION}
    name = f"{study.name()}-{slug(title)}"
    with study.stage(title, model=fresh.source or fresh.architecture) as run:
        folder = trained_weights(
            study, module, shuffled(data, study.seed), name, run, facts, sweeping.fitting
        )
    fresh.eval().source = f"checkpoint:{folder}"
    return fresh


def _measured(study: Study, sweeping: Sweeping, classifier: Classifier, value: float) -> Cell:
    """Clean and robust accuracy on validation images.

    The attack is PGD, run to its last step only where the image still stands.
    """
    served = sweeping.served
    with about_data(study, served):
        probes = _probes(study, sweeping.ball, sweeping.sweep)
        settings = prepare_probes(probes, classifier, served, study)

        def work(folder: Path) -> Cell:
            study.say(f"measure  {sweeping.title(value)}")
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
        return study.cells.measured(of, work)


def _logged(sweeping: Sweeping, cell: Cell, classifier: Classifier, title: str) -> Evaluation:
    """The evaluation that a cell keeps, which is logged to the value's run."""
    assert cell.folder is not None
    evaluation = load_result(cell.folder / "evaluation")  # what is shown is what is kept
    assert isinstance(evaluation, Evaluation)
    with about_data(sweeping.study, sweeping.served):
        sweeping.study.log_stage(title, evaluation, classifier, model=classifier.source or "")
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
