"""One damaged model, repaired by one strategy and measured against the original, as a row."""

import json
import math
import time
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor

from datamodules import Batch
from datamodules.poisoning import attack_success_rate
from lightning_modules import Classifier, DivergedError
from lightning_modules.recovery.batch_norm import NotApplicableError
from pipelines.recover.damages import Damaged
from pipelines.recover.original import Answers, Original, answers
from pipelines.recover.repair import CURVE, Effort, Repair
from pipelines.recover.strategies import STRATEGIES


class Repaired(NamedTuple):
    """What a repair came to.

    Args:
        classifier: repaired; the damaged one where the repair failed.
        row: names, costs and what came back.
        answers: to every test image, `index label original damaged repaired`; -1 where an answer
            is no number.
    """

    classifier: Classifier
    row: dict[str, Any]
    answers: pd.DataFrame


class OutOfMemoryError(RuntimeError):
    """A repair does not fit into memory, also with half the batch; `row` says so."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row["status"])
        self.row = row

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        """As pickle wants it, to be sent by a worker."""
        return type(self), (self.row,)


def repaired(
    damaged: Damaged,
    strategy: str,
    effort: Effort,
    seed: int = 0,
    flags: dict[str, Any] | None = None,
) -> Repaired:
    """Repairs a copy of a damaged classifier; returns it with one row.

    A repair that diverges or does not apply is a row too: `status` says so, and what counts is the
    damaged model that is left.

    Args:
        damaged: with its original.
        strategy: a key of `STRATEGIES`.
        effort: what may be spent.
        seed: of the training.
        flags: of Lightning's Trainer.

    Raises:
        OutOfMemoryError: it does not fit; another time it may.
    """
    start, status, knows = time.perf_counter(), "", STRATEGIES[strategy].knows
    for share in (1, 2):  # of batch and chunk
        repair = Repair(damaged, knows, effort, seed, flags, share)
        try:
            status = _applied(strategy, repair)
        except (RuntimeError, MemoryError) as problem:
            if not _is_out_of_memory(problem):
                raise
            status = f"({repair.batch_size}): use a smaller --data.batch_size. {problem}"
            continue
        seconds = time.perf_counter() - start - repair.measuring
        if status != "ok":  # what it left half done is of no use
            repair.classifier = damaged.classifier
        return _repaired(damaged, strategy, repair, status, seconds)
    status = f"out of memory: also with half the batch {status.splitlines()[0]}"
    untouched = Repair(damaged, knows, effort, seed)  # what was half repaired is of no use
    raise OutOfMemoryError(_repaired(damaged, strategy, untouched, status, 0.0).row)


def _applied(strategy: str, repair: Repair) -> str:
    """Runs a repair and says what became of it."""
    try:
        STRATEGIES[strategy].apply(repair)
    except NotApplicableError as reason:
        return f"not applicable: {reason}"
    except DivergedError as reason:
        return f"diverged: {reason}"
    return "ok"


def _is_out_of_memory(problem: BaseException) -> bool:
    """A GPU says so by type, a CPU only in words."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(problem, MemoryError) or any(word in str(problem) for word in words)


def _repaired(
    damaged: Damaged, strategy: str, repair: Repair, status: str, seconds: float
) -> Repaired:
    """Asks original, damaged and repaired model about the same images."""
    test = damaged.original.test
    after = answers(repair.classifier, test)
    told = {
        "index": test.index, "label": test.label, "original": damaged.original.answers.prediction,
        "damaged": damaged.answers.prediction, "repaired": after.prediction,
    }  # fmt: skip
    row = _row(damaged, strategy, repair, after, status, seconds)
    table = pd.DataFrame({name: values.cpu().numpy() for name, values in told.items()})
    return Repaired(repair.classifier, row, table)


def _row(
    damaged: Damaged, strategy: str, repair: Repair, after: Answers, status: str, seconds: float
) -> dict[str, Any]:
    """Names, costs, and what became of single answers, all on the same images."""
    original, spent = damaged.original, repair.spent
    before, harmed = original.answers, damaged.answers  # asked once for all rows
    drop = before.correct.double() - harmed.correct.double()
    return {
        "subject": original.label, "damage": damaged.kind, "severity": damaged.severity,
        "seed": damaged.seed, "strategy": strategy, "training_seed": repair.seed,
        "optimizer": repair.effort.recipe if STRATEGIES[strategy].trains else "",
        "status": status, "seconds": seconds, **asdict(spent),
        "flops": spent.flops + original.cost.forward * spent.forwards,
        "memory": _memory(original, repair), "curve": json.dumps(repair.curve),
        "n": float(len(drop)), "classes": float(repair.classifier.num_classes),
        **{
            f"{number}_{when}": _finite(getattr(told, column))
            for number, column in (("acc", "correct"), ("loss", "loss"))
            for when, told in (("original", before), ("damaged", harmed), ("repaired", after))
        },
        "drop_error": _error(drop),
        # What the curve starts from and goes back to, on its own images.
        "curve_original": float(before.correct[:CURVE].double().mean()),
        "curve_damaged": float(harmed.correct[:CURVE].double().mean()),
        "curve_drop_error": _error(drop[:CURVE]),
        "negative_flips": float((before.correct & ~after.correct).double().mean()),
        "positive_flips": float((~before.correct & after.correct).double().mean()),
        "agreement": float((before.prediction == after.prediction).double().mean()),
        "note": " ".join(filter(None, (damaged.note, repair.note))),
        "asr_damaged": _attack_success(damaged.classifier, damaged),
        "asr_repaired": _attack_success(repair.classifier, damaged),
    }  # fmt: skip


def _error(drop: Tensor) -> float:
    """Standard error of a drop, paired over images; of one image there is none."""
    return float(drop.std() / len(drop) ** 0.5) if len(drop) > 1 else math.nan


def _finite(values: Tensor) -> float:
    """Their mean; NaN where one is no number."""
    mean = float(values.double().mean())
    return mean if math.isfinite(mean) else math.nan


def _memory(original: Original, repair: Repair) -> float:
    if repair.spent.steps:
        return original.cost.training_memory
    return original.cost.forward_memory if repair.spent.forwards else 0.0


def _attack_success(classifier: Classifier, damaged: Damaged) -> float:
    """Share of triggered images of other classes that are taken for the backdoor's target."""
    if damaged.trigger is None:
        return math.nan
    test = damaged.original.test
    shown = Batch(damaged.trigger.trigger(test.image), test.label, test.index)
    return attack_success_rate(
        answers(classifier, shown).prediction,
        test.label,
        damaged.trigger.wanted(test.label, classifier.num_classes),
    )
