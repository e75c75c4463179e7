"""Trains and measures all models of a distillation; what is on disk already is taken from there."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from callbacks import preset_probes
from callbacks.digests import model_digest
from lightning_modules import Classifier, DivergedError
from lightning_modules.distillation import largest
from lightning_modules.trainer import device_flags
from pipelines.distill.answers import answer_test, clean_rows
from pipelines.distill.controls import CONTROLS, EVERY_SEED, TITLES
from pipelines.distill.footprint import Footprint, footprint, timed
from pipelines.distill.model import MeasuredModel, TrainedModel, titled
from pipelines.distill.plan import Plan, adopted
from pipelines.distill.training import train_student
from pipelines.engine import LostWorkerError
from pipelines.evaluate.measure import make_probes, measure, prepare_probes
from pipelines.evaluate.result import Evaluation
from pipelines.report.result import load_result, save_result
from pipelines.study import Study
from pipelines.study.cells import Cell

_VERSION = 2
"""To be raised with whatever changes a number that is measured here."""
_DAMAGE = ("zero", "bit_flip")
"""Probes besides the preset's: what survives of the teacher's robustness to damage."""


class Training(NamedTuple):
    """A student or a control before it is trained.

    Args:
        name: of the model.
        seed: of its training.
        train: trains it, or takes what is on disk.
    """

    name: str
    seed: int
    train: Callable[[Study, Plan, int], TrainedModel]

    @property
    def title(self) -> str:
        """Name of its run."""
        return titled(self.name, self.seed)


def trainings(seeds: Sequence[int], controls: Sequence[str]) -> list[Training]:
    """A student for each seed, then the controls.

    Args:
        seeds: of the students.
        controls: those of `EVERY_SEED` for every seed, others for the first.
    """
    students = [Training("student", seed, train_student) for seed in seeds]
    return students + [
        Training(TITLES[name], seed, CONTROLS[name])
        for name in controls
        for seed in (seeds if name in EVERY_SEED else seeds[:1])
    ]


def teacher_of(plan: Plan) -> TrainedModel:
    """The teachers as they are."""
    its = plan.teachers
    return TrainedModel("teacher", 0, its.classifiers, its.weights, native=its.native)


def train_models(
    study: Study, plan: Plan, seeds: Sequence[int], controls: Sequence[str]
) -> tuple[list[TrainedModel], dict[str, str]]:
    """The teacher as it is, a student for each seed, and the controls.

    Args:
        study: of the runs.
        plan: what is distilled.
        seeds: see `trainings`.
        controls: see `trainings`.

    Returns:
        The models, and why others diverged, by their title; the same command tries those again.

    Raises:
        DivergedError: there is no student at all.
    """
    models, failed = [teacher_of(plan)], {}
    for number, one in enumerate(trainings(seeds, controls), start=1):
        try:
            models.append(one.train(study, plan, one.seed))
        except (DivergedError, LostWorkerError) as error:
            failed[one.title] = str(error)
        if number == len(seeds) == len(failed):
            raise DivergedError("; ".join(failed.values()))
    return models, failed


def measure_models(
    study: Study, plan: Plan, models: Sequence[TrainedModel], preset: str
) -> list[MeasuredModel]:
    """Measures all models on the same test images; single ones under probes, the first of a name.

    Args:
        study: of the runs.
        plan: gives the images.
        models: the teacher first.
        preset: of the probes, or "none".
    """
    study.flags = device_flags(study.flags)  # the others are about training
    teacher = _answered(study, plan, models[0])
    measured: list[MeasuredModel] = []
    for model, times in zip(models, _timed(study, plan, models), strict=True):
        cell = _answered(study, plan, model, teacher.folder)
        sources = [part.source or part.architecture for part in model.classifiers]
        digests = [model_digest(part)[:16] for part in model.classifiers]
        # Attacks cost as much as a training, so that one seed of each name has to do.
        first = model.name not in [other.name for other in measured]
        evaluation = None
        if preset != "none" and first and len(model.classifiers) == 1:
            evaluation = _logged(study, plan, model, preset)
        run = study.run.children.get(titled(model.name, model.seed))
        measured.append(
            MeasuredModel(
                model.name, model.seed, cell.rows, Footprint(**{**cell.facts, **times}),
                ", ".join(sources), ", ".join(digests), evaluation, run and run.run_id,
            )
        )  # fmt: skip
    return measured


def _answered(study: Study, plan: Plan, model: TrainedModel, teacher: Path | None = None) -> Cell:
    """Rows of the undisturbed test images, and what the model takes; `teacher` has its answers."""

    def work(folder: Path) -> Cell:
        asked = model.classifiers, plan.data, model.weights, study.device, model.native
        index, label, logits = answer_test(*asked)
        np.save(folder / "logits.npy", logits.numpy())  # the teacher's serve all other models
        its = torch.from_numpy(np.load((teacher or folder) / "logits.npy"))
        network, image = _on_device(study, plan, model)
        taken = asdict(footprint(network, image))
        network.cpu()
        if model.compressed is not None:
            taken |= {k: getattr(model.compressed, k) for k in ("parameters", "macs", "bytes")}
        return Cell(taken, clean_rows(index, label, logits, its))

    with adopted(plan.data, largest(*(part.preprocessing for part in model.classifiers))):
        its = _weights(plan.teachers.classifiers, plan.teachers.weights)
        of = {**model_facts(study, plan, model), "teacher": its}
        return study.cells.measured({"cell": "distill answers", **of}, work)


def evaluated(study: Study, plan: Plan, model: TrainedModel, preset: str) -> Cell:
    """A single model under the preset's probes and damage.

    Args:
        study: with flags of the device alone.
        plan: gives the images.
        model: one network.
        preset: of the probes.
    """
    (classifier,) = model.classifiers
    with adopted(plan.data, classifier.preprocessing):
        names = dict.fromkeys((*preset_probes(preset), *_DAMAGE))
        probes = make_probes([*names], preset, study)
        settings = prepare_probes(probes, classifier, plan.data, study)

        def work(folder: Path) -> Cell:
            study.say(f"measure  {titled(model.name, model.seed)}")
            evaluation = measure(study, classifier, plan.data, probes)
            if evaluation.about.interrupted:
                raise KeyboardInterrupt  # its rows are in mlruns/resume; half a cell is none
            save_result(evaluation, folder / "evaluation")
            return Cell({})

        of = {**model_facts(study, plan, model), "probes": settings, "seed": study.seed}
        return study.cells.measured({"cell": "distill evaluation", **of}, work)


def _logged(study: Study, plan: Plan, model: TrainedModel, preset: str) -> Evaluation | None:
    """The evaluation of a single model, which is logged to its own run; None if it was lost."""
    title, (classifier,) = titled(model.name, model.seed), model.classifiers
    try:
        cell = evaluated(study, plan, model, preset)
    except LostWorkerError as error:
        study.notes.append(f"{title} was not measured under the probes: {error}")
        return None
    assert cell.folder is not None
    evaluation = load_result(cell.folder / "evaluation")  # what is shown is what is kept
    assert isinstance(evaluation, Evaluation)
    study.log_stage(title, evaluation, classifier, model=classifier.source)
    return evaluation


def _timed(study: Study, plan: Plan, models: Sequence[TrainedModel]) -> list[dict[str, float]]:
    """Times of all models, taken anew by every command: they are of this machine as it is now."""
    networks = [_on_device(study, plan, model) for model in models]  # all at once: in turn
    times = timed(networks)
    for network, _ in networks:
        network.cpu()
    return [dict(zip(("latency", "throughput"), pair, strict=True)) for pair in times]


def _on_device(study: Study, plan: Plan, model: TrainedModel) -> tuple[nn.Module, Tensor]:
    """The network, and a batch of images as it sees them."""
    wanted = largest(*(part.preprocessing for part in model.classifiers))
    image = plan.images_for(wanted, study.chunk).to(study.device)
    return model.network.eval().to(study.device), image


def model_facts(study: Study, plan: Plan, model: TrainedModel) -> dict[str, Any]:
    """What decides the numbers of a model on the images as they are served now."""
    return {
        "version": _VERSION,
        "model": _weights(model.classifiers, model.weights),
        "compressed": model.compressed and model.compressed[1:],
        "data": plan.data.manifest_digest(),
        "images": plan.data.manifest()["splits"]["test"]["indices"],  # the digest has no limit
        "chunk": study.chunk,
        "precision": study.precision,
        "threads": torch.get_num_threads(),
        "device": str(study.device),
        "torch": torch.__version__,
    }


def _weights(
    classifiers: Sequence[Classifier], weights: Sequence[float]
) -> list[tuple[str, str, float]]:
    """What decides the answers of one or several together."""
    return [
        (model_digest(part), repr(part.preprocessing), weight)
        for part, weight in zip(classifiers, weights, strict=True)
    ]
