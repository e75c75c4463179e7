"""One damaged model, repaired by one strategy and judged against the original."""

import copy
import json
import math
import time
from dataclasses import asdict
from typing import Any, Literal

import torch

from datamodules import Batch
from datamodules.poisoning import attack_success_rate
from lightning_modules import Classifier, DivergedError
from lightning_modules.recovery.batch_norm import NotApplicableError
from pipelines.recover.cost import UnitCost
from pipelines.recover.patient import Effort, Knowledge, Patient
from pipelines.recover.strategies import STRATEGIES, Strategy
from pipelines.recover.subject import Damaged, Subject, judged_answers


def repaired(
    subject: Subject,
    damaged: Damaged,
    strategy: str,
    effort: Effort,
    seed: int = 0,
    trainer: dict[str, Any] | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """Repairs a copy of a damaged classifier; returns it with one row of the atlas.

    A repair that diverges, does not apply or breaks is a row too: `status` says so.

    Args:
        subject: what was damaged.
        damaged: how.
        strategy: a key of `STRATEGIES`.
        effort: what may be spent.
        seed: of the training.
        trainer: flags of Lightning's Trainer.
    """
    way, start = STRATEGIES[strategy], time.perf_counter()
    patient = _admitted(subject, damaged, way.knows, effort, seed, trainer or {})
    try:
        status = _treated(way, patient)
    except (RuntimeError, MemoryError) as problem:
        if not _is_out_of_memory(problem):
            raise
        patient = _admitted(subject, damaged, way.knows, effort, seed, trainer or {}, share=2)
        try:
            status = _treated(way, patient)
        except (RuntimeError, MemoryError) as again:
            status = (
                f"out of memory: also with half the batch ({patient.data.batch_size}): use a "
                f"smaller --data.batch_size. {str(again).splitlines()[0]}"
            )
    seconds = patient.curve[-1]["seconds"] if patient.curve else time.perf_counter() - start
    row = {
        "subject": subject.label, "damage": damaged.kind, "severity": damaged.severity,
        "seed": damaged.seed, "strategy": strategy, "training_seed": seed,
        "optimizer": effort.recipe if way.trains else "",
        "status": status, "seconds": seconds, **asdict(patient.spent),
        "flops": _flops(subject.cost, patient), "memory": _memory(subject.cost, patient),
        "curve": json.dumps(patient.curve),
    }  # fmt: skip
    return patient.classifier, {**row, **_judged(subject, damaged, patient)}


def _treated(way: Strategy, patient: Patient) -> str:
    """Runs a repair and says what became of it."""
    try:
        way.repair(patient)
    except NotApplicableError as reason:
        return f"not applicable: {reason}"
    except DivergedError as reason:
        return f"diverged: {reason}"
    return "ok"


def _admitted(
    subject: Subject,
    damaged: Damaged,
    knows: frozenset[Knowledge],
    effort: Effort,
    seed: int,
    trainer: dict[str, Any],
    share: int = 1,
) -> Patient:
    """A fresh copy of the damaged model; `share` divides batch and chunk, for lack of memory."""
    data = damaged.data or subject.data
    if share > 1:
        data = copy.copy(data)
        data.batch_size = max(1, data.batch_size // share)
    classifier = copy.deepcopy(damaged.classifier)
    classifier.chunk = max(1, classifier.chunk // share)
    return Patient(
        classifier, knows, subject.stored, data, subject.data, damaged.hit, damaged.layers,
        damaged.held, effort, seed, subject.watched, trainer,
    )  # fmt: skip


def _is_out_of_memory(problem: BaseException) -> bool:
    """A GPU says so by type, a CPU only in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(problem, MemoryError) or any(word in str(problem) for word in words)


def control(
    subject: Subject,
    kind: Literal["none", "scratch"],
    effort: Effort,
    seed: int = 0,
    trainer: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A control that trains as long as the repairs.

    Args:
        subject: model and data.
        kind: "none" trains the undamaged model on, "scratch" a fresh one.
        effort: as of the repairs.
        seed: of the training.
        trainer: flags of Lightning's Trainer.
    """
    model = copy.deepcopy(subject.stored.original)
    if kind == "scratch":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for part in model.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()  # type: ignore[operator]
    hurt = Damaged(model, kind, 0.0, seed)
    return repaired(subject, hurt, "retrain_all", effort, seed, trainer)[1]


def _judged(subject: Subject, damaged: Damaged, patient: Patient) -> dict[str, float]:
    """Accuracies and what became of single answers, all on the same images."""
    first, was = subject.answers
    hurt = damaged.right(subject.judged)
    last, now = judged_answers(patient.classifier, subject.judged)
    drop = was.double() - hurt.double()
    return {
        "n": float(len(was)),
        "classes": float(patient.classifier.num_classes),
        "acc_original": float(was.double().mean()),
        "acc_damaged": float(hurt.double().mean()),
        "acc_repaired": float(now.double().mean()),
        "drop_error": float(drop.std() / len(drop) ** 0.5),  # paired
        "negative_flips": float((was & ~now).double().mean()),
        "agreement": float((first == last).double().mean()),
        "asr_damaged": _attack_success(damaged.classifier, subject, damaged),
        "asr_repaired": _attack_success(patient.classifier, subject, damaged),
    }


def _attack_success(classifier: Classifier, subject: Subject, damaged: Damaged) -> float:
    """Share of triggered images of other classes that are taken for the backdoor's target."""
    if damaged.trigger is None:
        return math.nan
    batch = subject.judged
    shown = Batch(damaged.trigger.trigger(batch.image), batch.label, batch.index)
    prediction, _ = judged_answers(classifier, shown)
    return attack_success_rate(prediction, batch.label, damaged.trigger.target)


def _flops(cost: UnitCost, patient: Patient) -> float:
    spent = patient.spent
    return cost.training * spent.samples + cost.forward * spent.forwards


def _memory(cost: UnitCost, patient: Patient) -> float:
    if patient.spent.steps:
        return cost.training_memory
    return cost.forward_memory if patient.spent.forwards else 0.0
