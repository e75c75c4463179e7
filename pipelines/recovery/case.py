"""One damaged model, repaired by one strategy and judged against the original."""

import copy
import json
import time
from dataclasses import asdict
from typing import Any, Literal

import torch

from lightning_modules import Classifier, DivergedError
from lightning_modules.recovery.batch_norm import NotApplicableError
from pipelines.recovery.cost import UnitCost
from pipelines.recovery.patient import Effort, Patient
from pipelines.recovery.strategies import STRATEGIES
from pipelines.recovery.subject import Damaged, Subject, judged_answers


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
    way = STRATEGIES[strategy]
    patient = Patient(
        copy.deepcopy(damaged.classifier), way.knows, subject.stored, damaged.data or subject.data,
        subject.data, damaged.hit, damaged.layers, damaged.held, effort, seed, subject.watched,
        trainer or {},
    )  # fmt: skip
    status, start = "ok", time.perf_counter()
    try:
        way.repair(patient)
    except NotApplicableError as reason:
        status = f"not applicable: {reason}"
    except DivergedError as reason:
        status = f"diverged: {reason}"
    except torch.cuda.OutOfMemoryError as reason:
        status = f"out of memory: {reason}"
    seconds = patient.curve[-1]["seconds"] if patient.curve else time.perf_counter() - start
    row = {
        "subject": subject.label, "damage": damaged.kind, "severity": damaged.severity,
        "seed": damaged.seed, "strategy": strategy, "training_seed": seed,
        "optimizer": effort.tuning.optimizer if way.trains else "",
        "status": status, "seconds": seconds, **asdict(patient.spent),
        "flops": _flops(subject.cost, patient), "memory": _memory(subject.cost, patient),
        "curve": json.dumps(patient.curve),
    }  # fmt: skip
    return patient.classifier, {**row, **_judged(subject, damaged, patient)}


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
    }


def _flops(cost: UnitCost, patient: Patient) -> float:
    spent = patient.spent
    return cost.training * spent.samples + cost.forward * spent.forwards


def _memory(cost: UnitCost, patient: Patient) -> float:
    if patient.spent.steps:
        return cost.training_memory
    return cost.forward_memory if patient.spent.forwards else 0.0
