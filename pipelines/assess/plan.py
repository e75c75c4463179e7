"""What each question will do, and how long that will take: counted work times measured speed."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

from callbacks.words import duration
from datamodules import ImageDataModule
from lightning_modules import Classifier
from lightning_modules.duplication import duplicate
from pipelines.assess.part import AssessedPart
from pipelines.assess.questions import QUESTIONS
from pipelines.evaluate.measure import make_probes, prepare_probes
from pipelines.evaluate.presets import PRESETS
from pipelines.recover.repair import CURVE
from pipelines.report.sections import Sheet
from pipelines.study import Study

_TRIES = 3
_BELIEVED = 20.0
"""Seconds of work as which the plan counts beside what was measured."""
_BATCH = 64
_AUDITED = 0.14
"""Figures that hashes, neighbours and probes cost for an image; see `_OVERHEAD`."""
_OVERHEAD = {
    "data": (90.0, 0.0), "robustness": (60.0, 15.0), "recoverability": (60.0, 20.0),
    "variability": (40.0, 35.0), "distillation": (100.0, 190.0), "monitorability": (280.0, 0.0),
}  # fmt: skip
"""What figures, fits, pages and logging cost whatever the model, in seconds of a small figure.

Once, and for each piece: a probe, a repair, a cell of the matrix, an evaluated network.

Measured with LeNet on the digits. All of it is the work of Python, for which a slow or busy
machine needs as much longer.
"""


@dataclass(frozen=True)
class Speed:
    """How fast this machine is with one model.

    Args:
        forward: seconds for an image.
        training: seconds for an image of a training step.
        drawing: seconds for a small figure.
    """

    forward: float
    training: float
    drawing: float


@dataclass(frozen=True)
class Sizes:
    """How many images there are; the epochs of trainings, and data sets that it is moved to."""

    train: int
    test: int
    epochs: int
    targets: int


def measured_speed(
    classifier: Classifier, data: ImageDataModule, device: torch.device, chunk: int
) -> Speed:
    """Times a forward of a chunk, a training step on a copy of the model, and a small figure."""
    images = data.taken("test", min(chunk, len(data.images("test")))).image.to(device)
    model = duplicate(classifier).to(device).eval()
    few = images[:_BATCH]

    def forward() -> None:
        with torch.inference_mode():
            model(images).cpu()

    def step() -> None:
        model.zero_grad()
        loss = model(few).logsumexp(1).mean()
        if loss.requires_grad:
            loss.backward()

    shortest = _seconds(forward) / len(images)
    model.train()
    return Speed(shortest, max(shortest, _seconds(step) / len(few)), _seconds(_draw))


def planned(
    study: Study, question: str, settings: Mapping[str, Any], speed: Speed, sizes: Sizes
) -> AssessedPart:
    """A question before it is asked: in words, and with the seconds that it will take.

    Args:
        study: gives seed and chunk to the probes that are counted.
        question: its name.
        settings: of the preset.
        speed: of the model on this machine.
        sizes: of the data.
    """
    pieces, work = _WORK[question](study, settings, speed, sizes)
    once, each = _OVERHEAD[question]
    told = ", ".join(f"{name} {_told(name, value)}" for name, value in settings.items())
    predicted = (once + each * pieces) * speed.drawing + work
    return AssessedPart(question, settings=told, predicted=predicted)


def corrected(parts: Sequence[AssessedPart]) -> list[AssessedPart]:
    """Predicts what is not answered anew, from what the answered ones took against their plan.

    The plan itself counts like some seconds that went as planned: a short question tells little.
    """
    known = [part for part in parts if part.status == "answered" and part.seconds > 0]
    if not known:
        return [*parts]
    taken, planned = sum(p.seconds for p in known), sum(p.predicted for p in known)
    factor = (taken + _BELIEVED) / (planned + _BELIEVED)
    return [
        replace(part, predicted=part.predicted * factor) if part.status == "not yet" else part
        for part in parts
    ]


def seconds_in_all(parts: Sequence[AssessedPart]) -> float:
    """What was taken, and what is predicted of the rest."""
    return sum(
        part.predicted if part.status == "not yet" else part.seconds
        for part in parts
        if part.status in ("not yet", "answered")
    )


def plan_of(parts: Sequence[AssessedPart], speed: Speed) -> Sheet:
    """The table that is printed before anything runs."""
    lines = [
        [QUESTIONS[part.question].title, part.settings if part.status == "not yet" else part.told,
         duration(part.predicted) if part.status == "not yet" else ""]
        for part in parts
    ]  # fmt: skip
    rates = f"{1 / speed.forward:,.0f} images a second forward, {1 / speed.training:,.0f} trained"
    title = f"Plan: about {duration(seconds_in_all(parts))} on this machine"
    return Sheet(("Question", "Asked", "About"), lines, title, rates)


def _draw() -> None:
    figure = Figure()
    figure.add_subplot().plot([0, 1], label="line")
    figure.legend()
    figure.savefig(io.BytesIO(), format="png")


def _seconds(work: Callable[[], None]) -> float:
    """The shortest of some tries after one to warm up."""
    work()
    taken = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


class _Work(NamedTuple):
    """Pieces that cost an overhead each, and seconds of the model's own work."""

    pieces: float
    seconds: float


def _evaluated(
    study: Study, preset: str, sizes: Sizes, speed: Speed, names: Sequence[str] | None = None
) -> _Work:
    """Of one pass: its probes, and their forwards over all settings."""
    if preset == "none":
        return _Work(0, 0.0)
    probes = make_probes(names, preset, study)
    prepare_probes(probes, study.models[0], study.data[0], study)
    passes = [
        min(sizes.test, probe.limit or sizes.test) * sum(map(probe.cost, probe.settings()))
        for probe in probes
    ]
    return _Work(len(probes), sum(passes) * speed.forward)


def _data(study: Study, asked: Mapping[str, Any], speed: Speed, sizes: Sizes) -> _Work:
    return _Work(0, (sizes.train + sizes.test) * (_AUDITED * speed.drawing + 2 * speed.forward))


def _robustness(study: Study, asked: Mapping[str, Any], speed: Speed, sizes: Sizes) -> _Work:
    return _evaluated(study, asked["preset"], sizes, speed, asked.get("probes"))


def _recoverability(study: Study, asked: Mapping[str, Any], speed: Speed, sizes: Sizes) -> _Work:
    effort, draws = asked.get("effort"), asked.get("draws", 3)
    repairs = draws * len(asked.get("severities", (0,) * 5)) * len(asked.get("strategies", "x" * 9))
    steps = effort.steps if effort else 100
    points = (effort.points if effort else 8) * min(CURVE, sizes.test)
    tested = min(asked.get("limit", 2000), sizes.test)
    each = steps * _BATCH * speed.training + (points + 2 * tested) * speed.forward
    return _Work(repairs, (repairs + 2 * draws) * each)


def _variability(study: Study, asked: Mapping[str, Any], speed: Speed, sizes: Sizes) -> _Work:
    cells = sizes.targets * len(asked.get("seeds", (0,))) * len(asked.get("fractions", ("all",)))
    trained = [mode for mode in asked["modes"] if mode != "probe"]
    images = max(sizes.epochs * sizes.train, asked.get("min_steps", 200) * _BATCH)
    each = images * speed.training + (2 * sizes.train + 2 * sizes.test) * speed.forward
    seconds = cells * (len(trained) * each + sizes.train * speed.forward)
    return _Work(cells * len(asked["modes"]), seconds)


def _distillation(study: Study, asked: Mapping[str, Any], speed: Speed, sizes: Sizes) -> _Work:
    seeds, controls = len(asked.get("seeds", (0,))), asked["controls"]
    trainings = seeds * (2 if "label_only" in controls else 1) + ("random_teacher" in controls)
    networks = 1 + trainings + len({*controls} - {"label_only", "random_teacher"})
    measured = networks * _evaluated(study, asked["evaluation"], sizes, speed).seconds
    return _Work(networks, trainings * sizes.epochs * sizes.train * speed.training + measured)


def _monitorability(study: Study, asked: Mapping[str, Any], speed: Speed, sizes: Sizes) -> _Work:
    explained = min(asked.get("limit", 1000), sizes.test)
    fitted = min(asked.get("train_limit", 5000), sizes.train)
    return _Work(0, (explained * asked.get("forwards", 500) * 2 + 3 * fitted) * speed.forward)


_WORK: dict[str, Callable[[Study, Mapping[str, Any], Speed, Sizes], _Work]] = {
    "data": _data, "robustness": _robustness, "recoverability": _recoverability,
    "variability": _variability, "distillation": _distillation, "monitorability": _monitorability,
}  # fmt: skip


def _told(name: str, value: Any) -> str:
    if name in ("preset", "evaluation") and value in PRESETS:
        budget = PRESETS[value]
        samples = "all" if budget.limit is None else f"{budget.limit:,}"
        return f"{value} ({samples} samples, {budget.steps} steps, {budget.restarts} restarts)"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    steps = getattr(value, "steps", None)
    return f"{steps} steps" if steps else str(value)
